package api

import (
	"cmp"
	"context"
	"slices"
	"time"

	"weft.dev/weft/api/top"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/link"
)

const (
	// countsPerTop is the most candidates that are counted for each target of an answer: candidates that may have
	// enough links, but have fewer because of removals or a high bound.
	countsPerTop = 5
	// moreCounts is the number of counts at once beyond the length of the answer.
	moreCounts = 10
	// maxTopSources is the most sources in an answer.
	maxTopSources = 20
)

// getTop answers with the targets that have the most links of the last hours.
func (s *server) getTop(ctx context.Context, p *params) (any, error) {
	text, given := p.text("source")
	var source db.Source
	if given {
		source = p.sourceOf("source", text)
	}
	limit := p.limit()
	hours := p.number("hours")
	hydrate := p.flag("hydrate")
	if p.err != nil {
		return nil, p.err
	}
	span := s.top.Span(s.Now().Add(-time.Duration(hours) * time.Hour))
	if !given && len(span.Sources) > 0 {
		source = span.Sources[0]
		given = true
	}
	a := wire.Top{
		Since: timeText(span.Since.UnixMicro()), Until: timeText(span.Until.UnixMicro()), Subjects: []wire.SubjectCount{},
		Sources: each(span.Sources[:min(len(span.Sources), maxTopSources)], sourceText),
	}
	if !given {
		return a, nil
	}
	a.Source = sourceText(source)
	var err error
	a.Subjects, a.Bound, err = s.topOf(ctx, source, span.Since, limit)
	if err == nil && hydrate {
		err = s.hydrateSubjects(ctx, a.Subjects)
	}
	return a, err
}

// hydrateSubjects adds the content of the first subjects that are records, up to maxContents.
func (s *server) hydrateSubjects(ctx context.Context, subjects []wire.SubjectCount) error {
	var records []db.Record
	var at []int // the index in subjects of each
	for i, one := range subjects {
		did, collection, rkey, ok := link.SplitRecord(one.Subject)
		if ok && rkey != "" {
			records = append(records, db.Record{DID: did, Collection: collection, Rkey: rkey})
			at = append(at, i)
		}
	}
	contents, err := s.contents(ctx, records, maxContents)
	for i, content := range contents {
		subjects[at[i]].Content = content
	}
	return err
}

// topOf counts the candidates of a source, likeliest first, until no other can be among the first limit. bound is the
// most links of an uncounted target.
func (s *server) topOf(ctx context.Context, source db.Source, since time.Time, limit int) (
	found []wire.SubjectCount, bound int64, err error) {
	candidates, bound := s.top.Candidates(source, since)
	found = []wire.SubjectCount{}
	// The first counts are as many as the answer's targets; later ones are made a few at a time.
	for counted, n := 0, limit; ; n = moreCounts {
		some := candidates[counted:min(len(candidates), counted+n, countsPerTop*limit)]
		counts, err := s.Store.CountsSince(ctx, each(some, func(c top.Candidate) db.Pair {
			return db.Pair{Target: c.Target,
				Source: source}
		}),
			since.UnixMicro())
		if err != nil {
			return nil, 0, err
		}
		for i, c := range some {
			if counts[i] > 0 {
				found = append(found, wire.SubjectCount{Subject: c.Target, Links: counts[i]})
			}
		}
		slices.SortFunc(found, func(a, b wire.SubjectCount) int {
			return cmp.Or(cmp.Compare(b.Links, a.Links), cmp.Compare(a.Subject, b.Subject))
		})
		found = found[:min(len(found), limit)]
		counted += len(some)
		next := bound
		if counted < len(candidates) {
			next = candidates[counted].Most
		}
		full := len(found) == limit && found[limit-1].Links >= next
		if len(some) == 0 || counted == len(candidates) || full {
			return found, next, nil
		}
	}
}
