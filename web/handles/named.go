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

// maxRecords is how much of an answer with records is read, in bytes. A list has at most 100 of them, of a kilobyte or
// two.
const maxRecords = 1 << 20

// maxName is the longest name that is asked for, in bytes: answers are remembered by it.
const maxName = 100

// ErrNotNamed says that an account has no record of a name among the first hundred of a collection.
var ErrNotNamed = errors.New("handles: no record has the name")

// Named is the key of the record of an account that has a name, in its member "name". The server of the account is
// asked. The error is ErrAway when nobody could be asked.
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

// Named asks the server of an account for the key of the record that has a name.
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

// serverIn is the host of the server of an account in its document. https://atproto.com/specs/did says where it stands.
func serverIn(body []byte, did string) (string, error) {
	var doc struct {
		ID       string `json:"id"`
		Services []struct {
			ID       string `json:"id"`
			Endpoint any    `json:"serviceEndpoint"`
		} `json:"service"`
	}
	if err := json.Unmarshal(body, &doc); err != nil || doc.ID != did {
		return "", fmt.Errorf("handles: the document of %s is not its own", did)
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

// namedIn is the key of the record with a name in a list of records.
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
