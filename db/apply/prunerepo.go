package apply

import (
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
)

// RepoPruning removes the records of an account that its repo doesn't have.
type RepoPruning struct {
	actor uint64
	known bool                // the account has an id
	keep  map[string]struct{} // keys of the repo's records
	after []byte              // the key of the last record that was read; nil: none
}

// NewRepoPruning returns the removal of an account's records that are not in its repo. Their DIDs are not read.
func (f *Applier) NewRepoPruning(did string, repo map[index.Record]struct{}) *RepoPruning {
	p := &RepoPruning{keep: map[string]struct{}{}}
	p.actor, p.known = f.actor(did)
	if !p.known {
		return p
	}
	for record := range repo {
		collection, ok := f.collection(record.Collection, false)
		if ok {
			p.keep[string(codec.RecordKey(nil, p.actor, collection, codec.AppendRkey(nil, record.Rkey)))] = struct{}{}
		}
	}
	return p
}

// PruneRepo removes records, as many as a part of a batch has room for. It reports whether none is left, or the account
// has an open resync, which says more.
func (f *Applier) PruneRepo(p *RepoPruning) (ended bool) {
	if !p.known || f.state.resyncs[p.actor] != nil {
		return true
	}
	p.after, ended = f.removeBehind(p.after, p.actor, f.d.rev(p.actor), func(key []byte) bool {
		_, ok := p.keep[string(key)]
		return ok
	})
	return ended
}
