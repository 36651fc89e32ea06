package upstream

// Filter selects a part of an upstream's events. An empty list selects all.
type Filter struct {
	Collections []string // NSIDs, and namespaces such as app.bsky.feed.*
	DIDs        []string
}

// Limits of a filter. A longer list is not sent, and the caller filters the events. The servers allow 100 collections.
// 200 DIDs make a URL of about 8 kB, which proxies accept. A plan is a POST, with the servers' limit.
const (
	maxCollections = 100
	maxURLDIDs     = 200
	maxPlanDIDs    = 10_000
)

// ForLive returns the part of f that the URL of a live stream carries.
func (f Filter) ForLive() Filter { return f.limit(maxURLDIDs) }

// ForPlan returns the part of f that the request for a plan carries.
func (f Filter) ForPlan() Filter { return f.limit(maxPlanDIDs) }

func (f Filter) limit(dids int) Filter {
	if len(f.Collections) > maxCollections {
		f.Collections = nil
	}
	if len(f.DIDs) > dids {
		f.DIDs = nil
	}
	return f
}

// IsZero reports whether f selects all events.
func (f Filter) IsZero() bool { return len(f.Collections) == 0 && len(f.DIDs) == 0 }
