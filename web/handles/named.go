package handles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"weft.dev/weft/link"
)

// maxRecords limits an answer with records, in bytes. A list has at most 100 records of one or two kilobytes.
const maxRecords = 1 << 20

// maxName is the longest name that is looked up, in bytes: it is a key of the cache.
const maxName = 100

// ErrNotNamed is returned if none of the first hundred records of a collection has the name.
var ErrNotNamed = errors.New("handles: no record has the name")

// Named returns the key of an account's record whose member "name" has a value. It queries the server of the account.
// The error is ErrAway if the network could not be queried.
func (h *Handles) Named(ctx context.Context, did, collection, name string) (string, error) {
	if len(name) > maxName {
		return "", ErrNotNamed
	}
	of := "record " + did + "/" + collection + "/" + name
	if e, ok := h.get(of); ok {
		return e.name, nil
	}
	return h.once(ctx, of, func(ctx context.Context) (string, error) {
		rkey, err := h.directory.Named(ctx, did, collection, name)
		if err == nil {
			h.put(of, rkey, keepDID)
		}
		return rkey, err
	})
}

// Named queries the server of an account for the key of the record with a name.
func (n *network) Named(ctx context.Context, did, collection, name string) (string, error) {
	body, err := n.document(ctx, did)
	if err != nil {
		return "", err
	}
	host, err := serverIn(body, did)
	if err != nil {
		return "", err
	}
	query := url.Values{"repo": {did}, "collection": {collection}, "limit": {"100"}}
	body, err = n.stranger(ctx, host, "/xrpc/com.atproto.repo.listRecords?"+query.Encode(), maxRecords)
	if err != nil {
		return "", err
	}
	return namedIn(body, did, collection, name)
}

// serverIn returns the host of the account's server from its document, as in https://atproto.com/specs/did.
func serverIn(body []byte, did string) (string, error) {
	var doc struct {
		ID       string `json:"id"`
		Services []struct {
			ID       string `json:"id"`
			Endpoint any    `json:"serviceEndpoint"`
		} `json:"service"`
	}
	if err := json.Unmarshal(body, &doc); err != nil || doc.ID != did {
		return "", fmt.Errorf("handles: the document of %s has another id", did)
	}
	for _, s := range doc.Services {
		endpoint, _ := s.Endpoint.(string)
		host, ok := strings.CutPrefix(strings.TrimSuffix(endpoint, "/"), "https://")
		if strings.HasSuffix(s.ID, "#atproto_pds") && ok && link.ValidHandle(strings.ToLower(host)) {
			return strings.ToLower(host), nil
		}
	}
	return "", fmt.Errorf("handles: the document of %s has no server", did)
}

// namedIn returns the key of the record with a name in a list of records.
func namedIn(body []byte, did, collection, name string) (string, error) {
	var list struct {
		Records []struct {
			URI   string `json:"uri"`
			Value struct {
				Name any `json:"name"`
			} `json:"value"`
		} `json:"records"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return "", fmt.Errorf("handles: the records of %s: %w", did, err)
	}
	for _, r := range list.Records {
		of, in, rkey, ok := link.SplitRecord(r.URI)
		if ok && of == did && in == collection && rkey != "" && r.Value.Name == name {
			return rkey, nil
		}
	}
	return "", ErrNotNamed
}
