package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"weft.dev/weft/db"
	"weft.dev/weft/db/model"
)

// index is a weft's HTTP API as the reference model asks an index. It knows of the API what its documentation says, and
// nothing of the code behind it: cursors are opaque text.
type index struct{ base string }

var _ model.Index = index{}

func (x index) get(ctx context.Context, path string, q url.Values, answer any) error {
	u := x.base + path + "?" + q.Encode()
	body, err := getContext(ctx, u)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("%s: %w", u, err)
	}
	return nil
}

const xrpc = "/xrpc/blue.microcosm.links."

func subject(target string, source db.Source) url.Values {
	return url.Values{"subject": {target}, "source": {source.Collection + ":" + bare(source.Path)}}
}

// bare is a path as XRPC takes it: without the leading dot of the older routes. As that is taken off when it is there, a path
// that itself begins with a dot needs it; and so does the path to a key without a name, for what is missing is no path.
func bare(path string) string {
	if path == "" || path[0] == '.' {
		return "." + path
	}
	return path
}

func (x index) CountLinks(ctx context.Context, target string, source db.Source) (int64, error) {
	var a struct{ Total int64 }
	err := x.get(ctx, xrpc+"getBacklinksCount", subject(target, source), &a)
	return a.Total, err
}

// CountDIDs asks an older route: XRPC has none for it.
func (x index) CountDIDs(ctx context.Context, target string, source db.Source) (int64, error) {
	var a struct{ Total int64 }
	err := x.get(ctx, "/links/count/distinct-dids",
		url.Values{"target": {target}, "collection": {source.Collection}, "path": {"." + source.Path}}, &a)
	return a.Total, err
}

func (x index) Links(ctx context.Context, q db.ListQuery) (db.Page[db.Record], error) {
	v := pageOf(q)
	if q.Reverse {
		v.Set("reverse", "true")
	}
	v["did"] = q.DIDs
	var a struct {
		Total   int64
		Records []db.Record
		Cursor  *string
	}
	err := x.get(ctx, xrpc+"getBacklinks", v, &a)
	return db.Page[db.Record]{Total: a.Total, Items: a.Records, Next: next(a.Cursor)}, err
}

func (x index) DIDs(ctx context.Context, q db.ListQuery) (db.Page[string], error) {
	var a struct {
		Total       int64
		LinkingDIDs []string `json:"linking_dids"`
		Cursor      *string
	}
	err := x.get(ctx, xrpc+"getBacklinkDids", pageOf(q), &a)
	return db.Page[string]{Total: a.Total, Items: a.LinkingDIDs, Next: next(a.Cursor)}, err
}

func (x index) Sources(ctx context.Context, target string) ([]db.SourceCount, error) {
	var a struct {
		Links map[string]map[string]struct {
			Records      int64
			DistinctDIDs int64 `json:"distinct_dids"`
		}
	}
	err := x.get(ctx, "/links/all", url.Values{"target": {target}}, &a)
	var counts []db.SourceCount
	for collection, paths := range a.Links {
		for path, c := range paths {
			path, ok := strings.CutPrefix(path, ".")
			if !ok {
				return nil, fmt.Errorf("/links/all of %s: the path %q has no leading dot", target, path)
			}
			counts = append(counts, db.SourceCount{
				Source: db.Source{Collection: collection, Path: path}, Links: c.Records, DIDs: c.DistinctDIDs,
			})
		}
	}
	return counts, err
}

func (x index) ManyToMany(ctx context.Context, q db.ManyQuery) (db.Page[db.ManyItem], error) {
	v := pageOf(q.ListQuery)
	v.Set("pathToOther", bare(q.Other))
	v["linkDid"], v["otherSubject"] = q.DIDs, q.Subjects
	var a struct {
		Items []struct {
			LinkRecord   db.Record
			OtherSubject string
		}
		Cursor *string
	}
	err := x.get(ctx, xrpc+"getManyToMany", v, &a)
	page := db.Page[db.ManyItem]{Next: next(a.Cursor)}
	for _, it := range a.Items {
		page.Items = append(page.Items, db.ManyItem{Record: it.LinkRecord, Other: it.OtherSubject})
	}
	return page, err
}

func (x index) ManyToManyCounts(ctx context.Context, q db.ManyQuery) (db.Page[db.OtherCount], error) {
	v := pageOf(q.ListQuery)
	v.Set("pathToOther", bare(q.Other))
	v["did"], v["otherSubject"] = q.DIDs, q.Subjects
	var a struct {
		Counts []struct {
			Subject         string
			Total, Distinct int64
		} `json:"counts_by_other_subject"`
		Cursor *string
	}
	err := x.get(ctx, xrpc+"getManyToManyCounts", v, &a)
	page := db.Page[db.OtherCount]{Next: next(a.Cursor)}
	for _, c := range a.Counts {
		page.Items = append(page.Items, db.OtherCount{Other: c.Subject, Links: c.Total, DIDs: c.Distinct})
	}
	return page, err
}

// Stats gives the totals that a comparison asks for.
func (x index) Stats(ctx context.Context) (db.Stats, error) {
	var a struct {
		Stats struct {
			Links   int64
			Records int64 `json:"linking_records"`
		}
	}
	err := x.get(ctx, "/", nil, &a)
	return db.Stats{Links: a.Stats.Links, Records: a.Stats.Records}, err
}

func pageOf(q db.ListQuery) url.Values {
	v := subject(q.Target, q.Source)
	v.Set("limit", strconv.Itoa(q.Limit))
	if q.After != nil {
		v.Set("cursor", string(q.After))
	}
	return v
}

// next carries a cursor's text as a position.
func next(cursor *string) []byte {
	if cursor == nil {
		return nil
	}
	return []byte(*cursor)
}
