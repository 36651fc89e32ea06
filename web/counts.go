package web

import (
	"cmp"
	"context"
	"strings"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/humanize"
)

// countPage shows a number or a table of numbers.
type countPage struct {
	Target  target
	Source  source
	What    string // links or accounts
	Noun    string // What, in the grammatical number of Total
	Total   int64
	Sources []source // by source
	More    bool     // there are further sources
	Rows    []countRow
}

// countRow is a row of a table of counts.
type countRow struct {
	Subject, Kind, Href string
	Source              source
}

// count builds the page of methods that return numbers.
func (s *Server) count(_ context.Context, a *answer) (*view, error) {
	var found struct {
		wire.Total
		wire.Counts
	}
	if err := a.decode(&found); err != nil {
		return nil, err
	}
	q := a.params()
	p := &countPage{Total: found.Total.Total, What: "links"}
	if strings.HasSuffix(a.path, "distinct-dids") {
		p.What = "accounts"
	}
	p.Noun = humanize.Plural(p.Total, strings.TrimSuffix(p.What, "s"))
	if found.Counts.Counts != nil {
		for _, c := range found.Counts.Counts {
			collection, path, _ := strings.Cut(c.Source, ":")
			p.Rows = append(p.Rows, countRow{c.Subject, kindText(c.Subject), explore(c.Subject), sourceOf(c.Subject, collection,
				strings.TrimPrefix(path, "."), c.Links, c.DIDs)})
		}
		return &view{Title: "Counts", Main: p}, nil
	}
	p.Target = s.targetOf(a.request, cmp.Or(q.Get("subject"), q.Get("target"), q.Get("did")))
	if collection, path, ok := askedSource(q); ok {
		p.Source = sourceOf(p.Target.Text, collection, path, 0, 0)
		if p.Source.Name() != "" && p.What == "links" {
			p.Noun = p.Source.Noun(p.Total)
		} else if p.Source.Name() != "" {
			p.Noun += " from " + p.Source.Noun(2)
		}
	} else if part, err := accountOf(a, p.Target); err != nil {
		return nil, err
	} else if part != nil {
		p.Sources = part.Sources
		p.More = part.More
	}
	return &view{Title: humanize.Number(p.Total) + " " + p.Noun, Target: p.Target.Text, Main: p}, nil
}
