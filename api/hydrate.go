package api

import (
	"context"
	"slices"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/db/body"
)

// The parameter hydrate adds the content of records to an answer.

// hydrate returns whether the request asks for the content of records, and checks that the page is not too long for
// it.
func (p *params) hydrate(limit *int) bool {
	hydrate := p.flag("hydrate")
	if hydrate && *limit > db.MaxBodies {
		p.fail("limit", "must be at most %d with `hydrate`", db.MaxBodies)
	}
	return hydrate
}

const (
	// maxContents ends a page with content after this many bytes, or one record more: a record may have 1 MB, and six
	// times that in JSON.
	maxContents = 4 << 20
	// bodiesAtOnce is the number of bodies in one read: 8 MB at most.
	bodiesAtOnce = 8
)

// hydrated returns the content of a page's records, and the page as far as there is room for it, with the cursor of
// the next page.
func hydrated[T any](ctx context.Context, s *server, hydrate bool, c cursorCodec, page db.Page[T], next *string,
	of func(T) db.Record) (db.Page[T], []wire.Content, *string, error) {
	if !hydrate {
		return page, make([]wire.Content, len(page.Items)), next, nil
	}
	contents, err := s.contents(ctx, each(page.Items, of), maxContents)
	if n := len(contents); err == nil && n < len(page.Items) {
		page.Items = page.Items[:n]
		next, err = c.encode(page.Position(n - 1))
	}
	return page, contents, next, err
}

// contents returns the content of the first records, up to most bytes and of one record at least. It is empty for a
// record that is not kept, or that JSON cannot have.
func (s *server) contents(ctx context.Context, records []db.Record, most int) ([]wire.Content, error) {
	contents := make([]wire.Content, 0, len(records))
	size := 0
	for some := range slices.Chunk(records, bodiesAtOnce) {
		bodies, err := s.Store.Bodies(ctx, some)
		if err != nil {
			return nil, err
		}
		for _, b := range bodies {
			var one wire.Content
			// Authors may write values that JSON cannot represent; the page is still valid.
			if value, err := body.JSON(b.CBOR); b.CBOR != nil && err == nil {
				one = wire.Content{CID: b.CID, Value: value}
			}
			size += len(one.Value)
			if size > most && len(contents) > 0 {
				return contents, nil
			}
			contents = append(contents, one)
		}
	}
	return contents, nil
}
