package index

// MinTimeCursor divides the cursors of Jetstream: smaller cursors are sequence numbers, others are times in
// microseconds since 1970.
const MinTimeCursor = 1_000_000_000_000_000

// Upstream is the position in an upstream.
type Upstream struct {
	Kind     string
	Seq      uint64 // where to go on from: all up to it is in the log
	US       int64  // the time of the event there; 0: not known
	High     uint64 // the highest number ever seen: up to it, an event may be a repeat
	Instance int64  // above 1 when the server has begun to count anew
	Followed Followed
	Epoch    int64 // the upstream with the highest was followed last
}

// Moved returns the upstream after a batch that ends at an event. A rewind moves nothing back: its events are in the
// log.
func (u Upstream) Moved(kind string, seq uint64, us int64) Upstream {
	u.Kind = kind
	u.Instance = max(u.Instance, 1)
	if u.Seq == 0 {
		u.Followed = Followed{} // it was by our clock; from now on events tell the upstream's
	}
	if seq >= u.Seq {
		u.Seq = seq
		u.US = us
	}
	u.High = max(u.High, seq)
	return u
}

// LastFollowed returns the host that was followed last; empty: none was.
func (v *Snapshot) LastFollowed() (host string) {
	newest := int64(-1)
	for name, u := range v.Upstreams {
		if u.Epoch > newest || u.Epoch == newest && name < host {
			host = name
			newest = u.Epoch
		}
	}
	return host
}

// EpochOf returns a host's epoch when it is followed: a new one when another host was followed last.
func (v *Snapshot) EpochOf(host string) int64 {
	last := v.LastFollowed()
	if last == host {
		return v.Upstreams[host].Epoch
	}
	return v.Upstreams[last].Epoch + 1
}
