package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"weft.dev/weft/link"
)

// Names resolves handles. Only displayed names depend on it, because it queries other services.
type Names interface {
	// DID returns the account of a handle. The error is ErrNamesAway if the network could not be queried.
	DID(ctx context.Context, handle string) (string, error)
	// Named returns the key of an account's record with a name, in a collection whose records have names. It returns an
	// error if there is none or the network could not be queried.
	Named(ctx context.Context, did, collection, name string) (rkey string, err error)
	// Known returns the cached handle of an account; empty: none cached.
	Known(did string) string
	// Handles looks up the handles of accounts within ctx, and returns those found in time.
	Handles(ctx context.Context, dids []string) map[string]string
}

// ErrNamesAway is the error of Names if the network could not be queried.
var ErrNamesAway = errors.New("web: the network can't be reached")

// namesPath returns handles to a page after it is displayed: a page never waits for a name.
const namesPath = "/names"

// maxNames is the number of names in a request: those of a page of the usual length.
const maxNames = 100

// handles answers with {"<did>":"<handle>"} for accounts with a handle that is found in time.
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
		panic(err) // strings always encode
	}
	h := w.Header()
	protect(h)
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(body) // fails only when the visitor has left
}

// name returns the cached handle of an account, else its shortened DID.
func (s *Server) name(did string) string { return s.liveFeed.name(did) }
