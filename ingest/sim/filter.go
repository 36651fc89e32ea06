package sim

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Limits of the real server's filters.
const (
	maxDIDs        = 10_000
	maxCollections = 100
)

// filter is the filter of a subscriber or a plan; empty parts match all. Collections only constrain commits.
type filter struct {
	kinds    []Kind
	dids     map[string]bool
	exact    map[string]bool
	prefixes []string // "app.bsky.feed."
	maxSize  int      // limit of a frame's JSON in bytes; zero: none
}

func (f *filter) wants(e *Event) bool {
	if len(f.kinds) > 0 && !slices.Contains(f.kinds, e.Kind) {
		return false
	}
	if len(f.dids) > 0 && !f.dids[e.DID] {
		return false
	}
	return e.Kind != KindCommit || f.wantsCollection(e.Collection)
}

func (f *filter) anyCollection() bool { return len(f.exact) == 0 && len(f.prefixes) == 0 }

func (f *filter) wantsCollection(nsid string) bool {
	if f.anyCollection() || f.exact[nsid] {
		return true
	}
	return slices.ContainsFunc(f.prefixes, func(p string) bool { return strings.HasPrefix(nsid, p) })
}

func (f *filter) wantsKind(k Kind) bool { return len(f.kinds) == 0 || slices.Contains(f.kinds, k) }

// set sets and checks the filter as strictly as the v2 wire does. The v1 wire differs only in accepting any prefix of a
// wildcard.
func (f *filter) set(kinds, dids, collections []string, v1 bool) error {
	if len(dids) > maxDIDs || len(collections) > maxCollections || len(kinds) > 4 {
		return fmt.Errorf("sim: too many filter values: %d kinds, %d DIDs, %d collections", len(kinds), len(dids),
			len(collections))
	}
	for _, k := range kinds {
		switch Kind(k) {
		case KindCommit, KindIdentity, KindAccount, KindSync:
			f.kinds = append(f.kinds, Kind(k))
		default:
			return fmt.Errorf("sim: unknown kind %q", k)
		}
	}
	f.dids = map[string]bool{}
	for _, d := range dids {
		if method, id, ok := strings.Cut(strings.TrimPrefix(d, "did:"), ":"); !ok || !strings.HasPrefix(d, "did:") ||
			method == "" || id == "" {
			return fmt.Errorf("sim: invalid DID %q", d)
		}
		f.dids[d] = true
	}
	f.exact = map[string]bool{}
	for _, c := range collections {
		if head, ok := strings.CutSuffix(c, "*"); ok && strings.HasSuffix(head, ".") && (v1 || isNSID(head+"x")) {
			f.prefixes = append(f.prefixes, head)
		} else if isNSID(c) {
			f.exact[c] = true
		} else {
			return fmt.Errorf("sim: invalid collection %q", c)
		}
	}
	if len(collections) > 0 && !f.wantsKind(KindCommit) {
		return fmt.Errorf("sim: collections can never apply: kinds excludes commit")
	}
	return nil
}

// isNSID is a rough check: at least three segments of letters, digits and hyphens.
func isNSID(s string) bool {
	parts := strings.Split(s, ".")
	for _, p := range parts {
		if p == "" || strings.Trim(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
			return false
		}
	}
	return len(parts) >= 3 && len(s) <= 317
}

// queryFilter parses the filter of a subscription.
func queryFilter(q url.Values, v1 bool) (*filter, error) {
	f := &filter{}
	if raw := q.Get("maxMessageSizeBytes"); raw != "" {
		n, err := strconv.ParseUint(raw, 10, 31)
		if err != nil && !v1 {
			return nil, fmt.Errorf("sim: maxMessageSizeBytes: %w", err)
		}
		f.maxSize = int(n)
	}
	if v1 {
		return f, f.set(nil, q["wantedDids"], q["wantedCollections"], true)
	}
	for _, old := range []string{"wantedDids", "wantedCollections", "requireHello"} {
		if q.Has(old) {
			return nil, fmt.Errorf("sim: %s is a parameter of /subscribe", old)
		}
	}
	return f, f.set(q["kinds"], q["dids"], q["collections"], false)
}
