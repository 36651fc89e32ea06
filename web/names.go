package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"weft.dev/weft/link"
)

// Names knows the handles of accounts. What it says comes from elsewhere, and nothing but names on pages depends on it.
type Names interface {
	// DID is the account of a handle. Where nobody could be asked, the error is ErrNamesAway.
	DID(ctx context.Context, handle string) (string, error)
	// Named is the key of the record of an account that has a name, in a collection whose records have names; an error
	// where there is none or nobody could be asked.
	Named(ctx context.Context, did, collection, name string) (rkey string, err error)
	// Known is the handle of an account as far as it is known already; empty when it isn't.
	Known(did string) string
	// Handles asks for the handles of accounts, within ctx, and gives those that it found in time.
	Handles(ctx context.Context, dids []string) map[string]string
}

// ErrNamesAway is the error of Names when nobody could be asked.
var ErrNamesAway = errors.New("web: the network can't be reached")

// namesPath gives handles to pages that are shown already: a page never waits for a name.
const namesPath = "/names"

// maxNames is how many are asked for at once: what a page of the usual length shows.
const maxNames = 100

// handles answers with {"<did>":"<handle>"}, of those that have one and that answer in time.
func (s *Server) handles(w http.ResponseWriter, r *http.Request) {
	var dids []string
	for _, did := range r.URL.Query()["did"] {
		if link.ValidDID(did) && len(dids) < maxNames {
			dids = append(dids, did)
		}
	}
	found := map[string]string{}
	if s.Names != nil && len(dids) > 0 {
		found = s.Names.Handles(r.Context(), dids)
	}
	body, err := json.Marshal(found)
	if err != nil {
		panic(err) // of strings
	}
	h := w.Header()
	protect(h)
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(body) // it fails only when the visitor has left
}

// name is the handle of an account where it is known, else its DID, shortened.
func (s *Server) name(did string) string { return s.liveFeed.name(did) }
