package web_test

import (
	"context"
	"errors"
)

// names maps handles to accounts.
type names map[string]string

func (n names) DID(_ context.Context, handle string) (string, error) {
	if did, ok := n[handle]; ok {
		return did, nil
	}
	return "", errors.New("nobody")
}

func (n names) Named(_ context.Context, did, collection, name string) (string, error) {
	if rkey, ok := n[did+"/"+collection+"/"+name]; ok {
		return rkey, nil
	}
	return "", errors.New("nothing")
}

func (n names) Known(did string) string {
	for handle, d := range n {
		if d == did {
			return handle
		}
	}
	return ""
}

func (n names) Handles(_ context.Context, dids []string) map[string]string {
	found := map[string]string{}
	for _, did := range dids {
		if handle := n.Known(did); handle != "" {
			found[did] = handle
		}
	}
	return found
}
