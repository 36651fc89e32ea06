package api

import (
	"context"
	"slices"
	"strings"

	"weft.dev/weft/db"
	"weft.dev/weft/link"
)

// Handles resolves handles.
type Handles interface {
	// DID returns the DID of a handle.
	DID(ctx context.Context, handle string) (string, error)
}

// resolveSubject resolves the handle in a subject such as at://alice.example/…. Records link to DIDs, so that hardly
// any record links to such a subject. It queries the network before the query takes a slot in a semaphore.
func (s *server) resolveSubject(ctx context.Context, p *params) {
	p.linked = func(subject string) bool {
		sources, err := s.Store.Sources(ctx, db.SourcesQuery{Of: subject, Limit: 10})
		linked := slices.ContainsFunc(sources.Items, func(c db.SourceCount) bool { return c.Links > 0 })
		return err != nil || linked // the query has the same error and reports it
	}
	if s.Handles == nil {
		return
	}
	for _, name := range []string{"subject", "target"} {
		if schema := p.def.Param(name); schema == nil || schema.Type != "string" {
			continue
		}
		p.each(name, func(v string) { s.resolveHandle(ctx, p, v) }) // one, or the query fails
	}
}

// resolveHandle resolves the handle in a subject, if it has one.
func (s *server) resolveHandle(ctx context.Context, p *params, subject string) {
	if strings.HasPrefix(subject, "at://did:") { // as most: the normal form has the same authority
		return
	}
	uri, _ := link.Parse(subject)
	handle, _, ok := cutHandle(uri)
	if !ok {
		return
	}
	// The client does not get the error: it may describe this server's network.
	did, err := s.Handles.DID(ctx, handle)
	if err != nil {
		did = ""
	}
	p.accounts = map[string]string{handle: did}
}

// byDID replaces the handle in a subject by the account's DID. Without a DID, the subject stays as it is if records
// link to that text; otherwise it is refused, because 0 would look like an answer.
func (p *params) byDID(name, subject string) string {
	handle, rest, ok := cutHandle(subject)
	if !ok {
		return subject
	}
	did, asked := p.accounts[handle]
	switch {
	case did != "":
		return "at://" + did + rest
	case p.linked(subject):
	case asked:
		p.fail(name, "contains the handle %s, but no account was found for it: use the DID of the account, at://did:…%s",
			handle, clip(rest))
	default:
		p.fail(name, "contains the handle %s: use the DID of the account, at://did:…%s", handle, clip(rest))
	}
	return subject
}

// cutHandle splits a normalised at-uri with a handle as its authority into the handle and the rest.
func cutHandle(uri string) (handle, rest string, ok bool) {
	after, ok := strings.CutPrefix(uri, "at://")
	if !ok || strings.HasPrefix(after, "did:") {
		return "", "", false
	}
	end := strings.IndexAny(after, "/?#")
	if end < 0 {
		end = len(after)
	}
	return after[:end], after[end:], true
}
