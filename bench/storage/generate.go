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
	// bigTarget is the target of a tenth of all links.
	bigTarget = "at://did:plc:bigbigbigbigbigbigbigbig/app.bsky.feed.post/3lbigbigbigbi"
	bigPath   = "subject.uri"
	// bigLikes: one like in this many links to the big target, which makes a tenth of all links.
	bigLikes = 6
	// samples is the number of random links that are kept as targets of queries.
	samples = 20_000
)

var bigSource = db.Source{Collection: "app.bsky.feed.like", Path: bigPath}

// generated describes the generated events.
type generated struct {
	Links      int64         `json:"links"`       // links of created and updated records
	BigLinks   int64         `json:"big_links"`   // links to the big target
	Batches    int           `json:"batches"`     // batches up to this number of links
	AllBatches int           `json:"all_batches"` // with the batches of later phases
	Took       time.Duration `json:"took_ns"`
	Peak       int64         `json:"peak_rss"`
	Sample     []sample      `json:"sample"`
}

// sample is a target to query.
type sample struct {
	Target string
	Source db.Source
}

// tailBatches returns the number of batches for the paced phases and the kills.
func tailBatches(o options) int {
	return (2*int(o.Pace.Seconds()+1)*o.Rate+killEvents)/o.Batch + 2
}

// Files of the generator for the other parts.
const (
	eventsFile    = "events"
	generatedFile = "generated.json"
)

// accounts returns the number of accounts of the network.
func (o *options) accounts() int64 {
	if o.Accounts > 0 {
		return o.Accounts
	}
	return max(o.Links/20, 1000)
}

// generate writes the events file.
func generate(o options) (g generated, err error) {
	start := time.Now()
	w, err := createEvents(filepath.Join(o.Dir, eventsFile))
	if err != nil {
		return g, err
	}
	network := sim.NewNetwork(sim.NetworkConfig{Accounts: int(o.accounts())})
	var reader truth.Reader
	r := rand.New(rand.NewPCG(1, 2))
	batch := make([]apply.Event, 0, o.Batch)
	more := tailBatches(o)
	for more > 0 {
		batch = batch[:0]
		for len(batch) < o.Batch {
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

// toBig redirects some likes to the big target, the same ones each time that a record occurs.
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

// take counts an event's links, and keeps each as a sample with the same probability.
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
