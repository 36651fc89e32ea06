package apply

import (
	"bytes"
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
)

// Purge is the removal of the links that a slice leaves out, an account after another.
type Purge struct {
	Actor   uint64 // the account whose records Applier.Purge reads
	Removed int    // links so far
	// Keep reports whether the slice has a link.
	Keep func(did string, source index.Source, target string) bool
	// Targets returns encoded targets as text.
	Targets func(keys [][]byte) ([]string, error)

	sources map[uint64]index.Source // names by id
	after   []byte                  // the key of the account's last record that was read; nil: none
}

// Purge purges records of the account p.Actor, as many as a step of a job changes and as a part of a batch has room
// for. It reports whether none is left; then it moves p to the next account.
func (f *Applier) Purge(p *Purge) (ended bool) {
	from, to := codec.AccountRecords(p.Actor)
	if p.after != nil {
		from = successor(p.after)
	}
	did := ""
	limit := f.state.config.JobRecords
	changed := 0
	seen := 0
	for w := f.walk(p.Actor, from, to, false); w.next(); {
		if changed == limit || seen == limit*seenPerRecord || f.d.bytes >= CommitBytes {
			return false
		}
		seen++
		p.after = bytes.Clone(w.key)
		if len(w.value) == 0 {
			continue
		}
		if did == "" {
			did = f.readDID(p.Actor)
		}
		if f.purgeRecord(p, did, w) {
			changed++
		}
	}
	p.Actor++
	p.after = nil
	return true
}

// purgeRecord removes a record's links that the slice leaves out, and reports whether there were any.
func (f *Applier) purgeRecord(p *Purge, did string, w *recordWalk) bool {
	rkey, links := f.decoded(w.key, w.value)
	targets := f.readTargets(p, links)
	if f.d.err != nil {
		return false
	}
	var stay, out []codec.RecordLink
	var text []byte
	for i, l := range links {
		source := f.readSource(p, l.Source)
		target := targets[i]
		if IsMisspelled(&text, l.Target) {
			target = string(text) // the slice is asked for the link that it becomes
		}
		if p.Keep(did, source, target) {
			stay = append(stay, l)
		} else {
			out = append(out, l)
		}
	}
	if len(out) == 0 {
		return false
	}
	_, collection, _, _ := codec.DecodeRecordKey(w.key)
	// The change is weft's own: it ends no resync, and a record that keeps a link keeps its body.
	r := logrow.Row{Op: logrow.OpRewritten, Actor: p.Actor, Collection: collection, Rkey: rkey, Rev: f.d.rev(p.Actor)}
	body := codec.BodyRef(w.value)
	if len(stay) == 0 {
		r.Replaced = f.state.Bodies.current(w.value)
		body = 0
	}
	f.change(w.key, w.value, stay, body, p.Actor, rkey, out, nil)
	f.log(r, out, nil)
	p.Removed += len(out)
	return true
}

// readTargets returns the targets of links as text. All their names are committed.
func (f *Applier) readTargets(p *Purge, links []codec.RecordLink) []string {
	keys := make([][]byte, len(links))
	for i := range links {
		keys[i] = links[i].Target
	}
	targets, err := p.Targets(keys)
	f.d.fail(err)
	return targets
}

// readSource returns a source. It reads the database for one that p has not met.
func (f *Applier) readSource(p *Purge, id uint64) index.Source {
	source, ok := p.sources[id]
	if ok {
		return source
	}
	err := f.history.beside.QueryRow(`SELECT nsid, path FROM sources
		JOIN collections ON collections.id = sources.collection WHERE sources.id = ?`,
		int64(id)).Scan(&source.Collection, &source.Path)
	if err != nil {
		f.d.fail(fmt.Errorf("read the name of source %d: %w", id, err))
	}
	if p.sources == nil {
		p.sources = map[uint64]index.Source{}
	}
	p.sources[id] = source
	return source
}
