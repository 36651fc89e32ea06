package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

const (
	// pairsInCall is the number of counts that a server accepts in a call.
	pairsInCall = 1000
	// bytesInCall limits the names in a call: a server reads 1 MiB of JSON, in which a quote takes two bytes.
	bytesInCall = 400_000
)

// Counts counts lists in the order of the pairs, 1,000 per call. The counts of a call are from one snapshot.
func (c *Client) Counts(ctx context.Context, pairs ...Pair) ([]Counted, error) {
	if c.isConstellation {
		return c.plainCounts(ctx, pairs)
	}
	counts := make([]Counted, 0, len(pairs))
	for len(pairs) > 0 {
		n := fitting(pairs)
		var body bytes.Buffer
		e := json.NewEncoder(&body)
		e.SetEscapeHTML(false) // links have many &
		err := e.Encode(wire.Pairs{Pairs: pairs[:n]})
		if err != nil {
			return nil, err
		}
		var a wire.Counts
		_, err = c.do(ctx, http.MethodPost, routes.BatchCounts.Path, &body, &a)
		if err != nil {
			return nil, err
		}
		counts = append(counts, a.Counts...)
		pairs = pairs[n:]
	}
	return counts, nil
}

// fitting returns the number of pairs in the next call, at least one.
func fitting(pairs []Pair) int {
	size := 0
	for i, pair := range pairs {
		size += len(pair.Subject) + len(pair.Source)
		if i == pairsInCall || i > 0 && size > bytesInCall {
			return i
		}
	}
	return len(pairs)
}

// plainCounts counts lists one by one.
func (c *Client) plainCounts(ctx context.Context, pairs []Pair) ([]Counted, error) {
	counts := make([]Counted, 0, len(pairs))
	for _, pair := range pairs {
		links, err := c.Count(ctx, pair.Subject, pair.Source)
		if err != nil {
			return nil, err
		}
		dids, err := c.CountDIDs(ctx, pair.Subject, pair.Source)
		if err != nil {
			return nil, err
		}
		counts = append(counts, Counted{Pair: pair, Links: links, DIDs: dids})
	}
	return counts, nil
}
