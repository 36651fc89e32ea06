package web

import (
	"context"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/humanize"
)

// homePage is the first page.
type homePage struct {
	Index    wire.Index
	Since    string
	Rate     int64 // events a second, in the last tick
	Lag      string
	HasLag   bool
	Behind   bool // the newest events in the index are old
	Away     bool // no links arrive
	Spark    spark
	Links    []liveLink
	Kept     []kept
	Examples []example
}

// example is a suggested target.
type example struct{ Text, Target string }

func (s *Server) home(_ context.Context, a *answer) (*view, error) {
	p := homePage{}
	if err := a.decode(&p.Index); err != nil {
		return nil, err
	}
	if at := p.Index.Stats.StartedAt; at != nil {
		p.Since = time.UnixMicro(*at).UTC().Format("2 Jan 2006")
	}
	rates, links := s.liveFeed.latest()
	if len(rates) > 0 {
		p.Rate = int64(rates[len(rates)-1] + 0.5)
	}
	p.Spark = sparkOf(rates)
	p.Links = links
	if s.Lag != nil {
		p.HasLag = true
		p.Lag = lagText(s.Lag())
	}
	p.Kept = keptLinks(p.Index.Retention)
	p.Behind = s.behind()
	p.Away = s.Current() != nil
	// Recent targets exist in the index of any network.
	seen := map[string]bool{}
	for _, l := range links {
		if k := kindText(l.subject); !seen[k] && len(p.Examples) < 4 {
			seen[k] = true
			p.Examples = append(p.Examples, example{k, l.subject})
		}
	}
	return &view{Title: "weft", Main: p}, nil
}

// kept is a rule of retention in words.
type kept struct{ Links, For string }

func keptLinks(rules []wire.StatusRule) []kept {
	list := make([]kept, len(rules))
	for i, r := range rules {
		list[i] = kept{r.Links, r.Text()}
		switch {
		case r.Links == "*" && len(rules) == 1:
			list[i].Links = "all links"
		case r.Links == "*":
			list[i].Links = "all other links"
		}
	}
	return list
}

// lagText formats the lag of the index. 0 means that no event was read yet.
func lagText(d time.Duration) string {
	if d == 0 {
		return "unknown"
	}
	return humanize.Seconds(d.Seconds())
}
