package main

import (
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

const (
	// bigTarget is what a tenth of all links link to.
	bigTarget = "at://did:plc:bigbigbigbigbigbigbigbig/app.bsky.feed.post/3lbigbigbigbi"
	bigPath   = "subject.uri"
	// bigLikes: one like in so many goes to the big target, which makes a tenth of all links.
	bigLikes = 6
	// samples is how many links are remembered, by chance, for the targets of queries.
	samples = 20_000
)

var bigSource = db.Source{Collection: "app.bsky.feed.like", Path: bigPath}

// generated says what the generator made.
type generated struct {
	Links      int64         `json:"links"`       // links of created and updated records
	BigLinks   int64         `json:"big_links"`   // of them, those to the big target
	Batches    int           `json:"batches"`     // until there are that many links
	AllBatches int           `json:"all_batches"` // with those for the phases that follow
	Took       time.Duration `json:"took_ns"`
	Peak       int64         `json:"peak_rss"`
	Sample     []sample      `json:"sample"`
}

// sample is a target to ask for.
type sample struct {
	Target string
	Source db.Source
}

// tailBatches is how many batches follow for the phases with a pace and for the kills.
func tailBatches(o options) int {
	return 2*int(o.Pace.Seconds()+1)*o.Rate/batchEvents + killBatches
}

// What the generator leaves for the other parts.
const (
	eventsFile    = "events"
	generatedFile = "generated.json"
)

// generate writes the events file.
func generate(o options) (g generated, err error) {
	start := time.Now()
	w, err := createEvents(filepath.Join(o.Dir, eventsFile))
	if err != nil {
		return g, err
	}
	network := sim.NewNetwork(sim.NetworkConfig{Accounts: int(max(o.Links/20, 1000))})
	var reader truth.Reader
	r := rand.New(rand.NewPCG(1, 2))
	batch := make([]apply.Event, 0, batchEvents)
	more := tailBatches(o)
	for more > 0 {
		batch = batch[:0]
		for len(batch) < batchEvents {
			e, ok, err := reader.Event(network.Next())
			if err != nil {
				return g, err
			}
			if !ok {
				continue
			}
			toBig(&e)
			if o.Bodies == db.BodiesOff {
				e.Body = nil
			}
			batch = append(batch, e)
		}
		if err := w.write(batch); err != nil {
			return g, err
		}
		g.AllBatches++
		if g.Links >= o.Links {
			more--
			continue
		}
		g.Batches++
		for i := range batch {
			g.take(&batch[i], r)
		}
	}
	g.Took = time.Since(start)
	g.Peak = peakRSS()
	return g, w.close()
}

// toBig turns some likes to the big target: the same ones each time that a record comes.
func toBig(e *apply.Event) {
	if e.Collection != bigSource.Collection {
		return
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(e.DID + e.Rkey))
	if h.Sum32()%bigLikes != 0 {
		return
	}
	for i := range e.Links {
		if e.Links[i].Path == bigPath {
			e.Links[i].Target = bigTarget
		}
	}
}

// take counts an event's links, and remembers each with the same chance.
func (g *generated) take(e *apply.Event, r *rand.Rand) {
	for _, l := range e.Links {
		g.Links++
		if l.Target == bigTarget {
			g.BigLinks++
			continue
		}
		s := sample{strings.Clone(l.Target), db.Source{Collection: e.Collection, Path: strings.Clone(l.Path)}}
		if len(g.Sample) < samples {
			g.Sample = append(g.Sample, s)
		} else if at := r.Int64N(g.Links); at < samples {
			g.Sample[at] = s
		}
	}
}
