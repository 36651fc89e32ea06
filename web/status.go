package web

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/humanize"
)

// statusPage is the data of the page.
type statusPage struct {
	wire.Status
	Upstream    []fact
	Curves      []curve
	Index       []fact
	Levels      []level
	Disk        []fact
	Shares      []share
	Replication []fact
	Replay      *replayBar
	Headline    string // the state in a few words
	Lead        string // the state in a sentence or two
}

// fact is a figure with its explanation.
type fact struct {
	Name, Value, Note string
	Bad               bool // needs attention
}

// level is the segments of a level, with the width of their bar in percent.
type level struct {
	Level        int
	Files, Links int64
	Bytes        string
	PerLink      string
	Width        float64
}

type replayBar struct {
	Host, Done, Left string
	Width            float64
}

func (s *Server) status(_ context.Context, a *answer) (*view, error) {
	p := statusPage{}
	if err := a.decode(&p.Status); err != nil {
		return nil, err
	}
	p.Upstream = upstreamFacts(p.Status.Upstream)
	p.Replay = replayOf(p.Status.Upstream)
	p.Curves = p.curves()
	p.Index = p.indexFacts()
	p.Levels = p.levels()
	p.Disk = p.diskFacts(s.Now())
	p.Shares = p.shares()
	p.Replication = replicationFacts(p.Status.Replication)
	if p.Status.Following != nil {
		p.Upstream = followingFacts(p.Status.Following)
	}
	p.Headline, p.Lead = p.headline()
	return &view{Title: "Status", About: "Status of this index: upstream, size, gaps and replica.", Main: p}, nil
}

// mostLag is the largest lag in seconds of an index that is up to date.
const mostLag = 60

// headline returns the state of the service in a few words and in a sentence or two. It agrees with the figures below
// it: an index that lags or has a figure that needs attention isn't called up to date.
func (p *statusPage) headline() (headline, lead string) {
	u := p.Status.Upstream
	f := p.Status.Following
	bad := func(fact fact) bool { return fact.Bad }
	switch {
	case !p.Ready:
		return "Shutting down", humanize.Capital(p.Reason) + ". Counts and lists answer from the data in the index " +
			"until the end."
	case p.Status.Index.Failed != "":
		return "Not up to date", "Writing has stopped. Counts and lists answer from the data in the index."
	case p.Status.Index.Paused != "":
		return "Not up to date", "Indexing is paused for lack of disk space. Counts and lists answer from " +
			"the data in the index."
	case f != nil && f.LagSeconds > mostLag:
		return "Behind the primary", "This server follows the replica of another weft, and shows the state of " +
			humanize.Seconds(f.LagSeconds) + " ago."
	case u != nil && nothingRead(u):
		return "No event read yet", "weft has read no event since this process started. Counts and lists answer from the " +
			"data in the index."
	case u != nil && u.LagSeconds > mostLag:
		return "Behind the network", "The newest event in the index is " + humanize.Seconds(u.LagSeconds) +
			" old. Counts and lists do not include newer ones."
	case slices.ContainsFunc(slices.Concat(p.Upstream, p.Index, p.Disk, p.Replication), bad):
		return "Running, with warnings", "Counts and lists answer. The figures marked with ! need attention."
	case f != nil:
		return "Up to date", "This server follows the replica of another weft."
	}
	return "Up to date", "Counts and lists include a new event within a second."
}

// nothingRead reports whether no event was read since the start. The lag is then unknown.
func nothingRead(u *wire.Upstream) bool { return u.Seq == 0 && u.LagSeconds == 0 }

func upstreamFacts(u *wire.Upstream) []fact {
	if u == nil {
		return nil
	}
	connected := connectionFact(u)
	if u.Kind != "" {
		connected.Note += " Its protocol is Jetstream " + u.Kind + "."
	}
	lag := humanize.Seconds(u.LagSeconds)
	if nothingRead(u) {
		lag = "unknown"
	}
	facts := []fact{
		connected,
		{"Lag", lag, "Time between the newest event in the index and now. It is a few seconds in normal operation, and " +
			"days at the start of a replay.", u.LagSeconds > mostLag},
		{"Queue", humanize.Number(int64(u.Queued)),
			"Events received and not committed yet. If this number keeps growing, this machine is too slow.", false},
		{"Position", position(u.Committed),
			"The index contains all events of this server up to here. weft resumes here after a restart.", false},
	}
	if u.Degraded != "" {
		facts = append(facts, fact{"Limited upstream", u.Kind, "Limits of this server: " + u.Degraded + ".", true})
	}
	if u.Slice != "" {
		facts = append(facts, fact{"Slice", u.Slice, "The part of the network that this index covers.", false})
	}
	return facts
}

// connectionFact returns the state of the connection to the upstream.
func connectionFact(u *wire.Upstream) fact {
	detail := humanize.Capital(u.Detail) + "."
	switch u.State {
	case wire.UpstreamFollowing:
		return fact{"Connected to", u.Host, "weft reads events from this server. " + detail, false}
	case wire.UpstreamWaiting:
		return fact{"Connected to", u.Host, detail, false}
	case wire.UpstreamReplaying:
		return fact{"Replaying", u.Host, "weft reads the past events of this server first, and then the new ones.", false}
	case wire.UpstreamSilent:
		return fact{"Silent", u.Host, detail + " The index gets no new events.", true}
	case wire.UpstreamConnecting:
		return fact{"Connecting to", u.Host, detail, false}
	case wire.UpstreamDisconnected:
		return fact{"Not connected to", u.Host, detail + " The index gets no new events.", true}
	}
	return fact{"Not connected to", u.Host, detail, false} // starting or stopping
}

func replayOf(u *wire.Upstream) *replayBar {
	if u == nil || u.Replay == nil || u.Replay.Events <= 0 {
		return nil
	}
	r := u.Replay
	bar := &replayBar{Host: r.Host, Width: percent(r.EventsDone, r.Events),
		Done: fmt.Sprintf("%s of about %s events, %s of %s, %s per second",
			humanize.Short(r.EventsDone), humanize.Short(r.Events), humanize.Bytes(r.BytesDone), humanize.Bytes(r.Bytes),
			humanize.Short(int64(r.Rate)))}
	switch {
	case r.Waiting > 0:
		bar.Left = "waiting for the archive, which has sent nothing for " + humanize.Seconds(r.Waiting)
	case r.ETA > 0:
		bar.Left = "about " + humanize.Seconds(r.ETA) + " left"
	}
	return bar
}

func (p *statusPage) indexFacts() []fact {
	i := &p.Status.Index
	facts := []fact{
		{"Links", humanize.Number(i.Links), "Links made by active accounts. Counts and lists contain these.", false},
		{"Records", humanize.Number(i.Records), "Records with links, including those of inactive accounts.", false},
		{"Accounts", humanize.Number(i.Actors), "All accounts that link or are linked to.", false},
		{"Log", humanize.Number(logRows(i.LogOldest, i.LogSeq)),
			fmt.Sprintf("Rows in the log, up to number %s. Each row is a change "+
				"of a record or an account. Streams read the log.", humanize.Number(int64(i.LogSeq))), false},
		{"Not in segments yet", humanize.Number(i.Unsealed),
			"Log rows whose links are only in memory and in the log. A restart reads them again: nothing is lost.", false},
		{"Sorted runs", humanize.Number(int64(i.Runs)),
			"Sorted runs that a query reads, in memory and in segments. Compaction keeps this number small.", false},
		{"Background work", working(i.Sealing, i.Compacting), "A seal writes links from memory to a segment. A compaction " +
			"makes one segment of several. Queries do not wait for either.", false},
		{"Account changes", humanize.Number(int64(i.Jobs)),
			"Status changes of large accounts in progress. Meanwhile, a count may differ from its list.", false},
	}
	for _, r := range keptLinks(i.Retention) {
		facts = append(facts, fact{"Kept: " + r.Links, r.For,
			"How long links are kept, by their own time (--keep). Older " +
				"links are in no answer, and compactions give their space back.", false})
	}
	if p.Space.Written != nil {
		facts = append(facts, fact{"Write amplification", fmt.Sprintf("%.1f×", *p.Space.Written),
			"Bytes written to disk since the start for each byte sealed into segments: WAL, checkpoints, seals and " +
				"compactions, without replication. Lower is better.", false})
	}
	if p.Degraded != "" {
		facts = append([]fact{{"Degraded", "yes", humanize.Capital(p.Degraded) + ". Counts and lists still answer.", true}},
			facts...)
	}
	if i.Failed != "" {
		facts = append([]fact{{"Writing has stopped", "error",
			humanize.Capital(i.Failed) + ". Queries still work. Fix the cause and start " +
				"weft again: it resumes from the last commit.", true}}, facts...)
	}
	return facts
}

func (p *statusPage) levels() []level {
	most := int64(0)
	for _, l := range p.Space.Levels {
		most = max(most, l.Bytes)
	}
	var levels []level
	for _, l := range p.Space.Levels {
		levels = append(levels, level{l.Level, int64(l.Files), l.Links, humanize.Bytes(l.Bytes), perLink(l.Bytes, l.Links),
			percent(l.Bytes, most)})
	}
	return levels
}

func (p *statusPage) diskFacts(now time.Time) []fact {
	sp := &p.Space
	var facts []fact
	if sp.PerLink != nil {
		facts = append(facts, fact{"Bytes per link", fmt.Sprintf("%.1f bytes", *sp.PerLink),
			"The size of all files divided by the number of links. Compaction lowers it.", false})
	}
	if sp.Free != nil && sp.Total != nil {
		note := "Free of " + humanize.Bytes(*sp.Total) + " on the disk with the data directory."
		if sp.Budget != nil && *sp.Budget == *sp.Total {
			note = "Free of the " + humanize.Bytes(*sp.Total) + " that --disk allows."
		}
		if sp.Reserve > 0 {
			note += " Below " + humanize.Bytes(sp.Reserve) + " indexing pauses until there is room; queries still work."
		}
		facts = append(facts, fact{"Free space", humanize.Bytes(*sp.Free), note, *sp.Free*5 < *sp.Total})
	}
	switch over := humanize.Seconds(float64(sp.Measured)); {
	case sp.Growth == nil:
		facts = append(facts, fact{"Disk full", "not known yet", "weft measures the growth for half an hour first.", false})
	case sp.FullAt != nil:
		facts = append(facts, fact{"Disk full", "in " + humanize.Seconds(sp.FullAt.Sub(now).Seconds()),
			"On " + sp.FullAt.Format("2 January 2006") + ", if growth stays as in the last " + over + ": " +
				humanize.Bytes(*sp.Growth) +
				" per day.",
			sp.FullAt.Sub(now) < 14*24*time.Hour})
	case *sp.Growth <= 0:
		facts = append(facts, fact{"Disk full", "not growing", "The index has not grown in the last " + over + ".", false})
	case sp.Free == nil:
		facts = append(facts, fact{"Disk full", "unknown", "This system does not report free space. Growth in the last " +
			over + ": " + humanize.Bytes(*sp.Growth) + " per day.", false})
	default:
		facts = append(facts, fact{"Disk full", "in more than ten years", "Growth in the last " + over + ": " +
			humanize.Bytes(*sp.Growth) + " per day.", false})
	}
	return append(facts, fact{"Memory", humanize.Bytes(sp.Memory),
		"Memory used by links that are not in segments yet. weft seals them into a segment at 24 MiB.", false})
}

func replicationFacts(r *wire.Replication) []fact {
	if r == nil {
		return nil
	}
	bad := r.State != "ok"
	facts := []fact{
		{"State", r.State, strings.TrimSpace(r.Do + " " + lastSuccess(r)), bad},
		{"Behind", humanize.Seconds(r.LagSeconds),
			fmt.Sprintf("%s and %s committed here and not in the replica yet. If the disk "+
				"fails now, these are lost.", humanize.Count(r.LagTransactions, "transaction"), humanize.Bytes(r.LagBytes)),
			r.LagSeconds > mostLag},
		{"Position", position(r.ReplicaTXID), "The newest transaction in the replica. The newest one here is " +
			position(r.LocalTXID) + ".", false},
		{"Replicated log", position(r.DurableLogSeq), "The newest log row in the replica. The newest one here is " +
			position(r.LogSeq) + ".", false},
		{"Segments waiting", humanize.Number(int64(r.SegmentsWaiting)), humanize.Bytes(r.SegmentsWaitingBytes) +
			" to upload before the database may refer to them.", false},
		{"Uploaded", humanize.Bytes(r.UploadedBytes), "Since this process started.", false},
	}
	verified := fact{"Last verified restore", "none yet",
		"weft verify restores a copy and checks it. serve --verify-every does so regularly.", false}
	if v := r.Verification; v != nil {
		verified.Value = string(v.Outcome) + ", " + utc(v.EndedAt.UnixMicro())
		verified.Note = fmt.Sprintf("weft restored a copy up to log row %s, with %s. The copy was %s old.",
			position(v.LogSeq), humanize.Count(int64(v.Segments), "segment"), humanize.Seconds(v.AgeSeconds))
		if v.Outcome != wire.VerificationOK {
			verified.Note = humanize.Capital(strings.Join(v.Faults, "; "))
			verified.Bad = true
		}
	}
	facts = append(facts, verified)
	if r.LastError != "" {
		facts = append(facts, fact{"Last failure", moment(r.LastErrorAt), humanize.Capital(r.LastError),
			r.State == "failing"})
	}
	return facts
}

// followingFacts returns the facts of a follower.
func followingFacts(f *wire.Following) []fact {
	note := "This server reads this replica of another weft, the primary. Only the primary writes."
	if f.State != "ok" && f.Do != "" {
		note = f.Do
	}
	facts := []fact{
		{"Follows", f.Replica, note, f.State == "failing"},
		{"State", f.State, "ok, waiting (for segments that are being downloaded) or failing.", f.State == "failing"},
		{"Behind", humanize.Seconds(f.LagSeconds),
			"Age of the primary's state that is shown here. It grows while the primary has " +
				"nothing new.", f.LagSeconds > mostLag},
		{"Last caught up", humanize.Seconds(f.LookSeconds) + " ago",
			"The last time this server showed everything in the replica.",
			f.LookSeconds > mostLag},
		{"Position", position(f.LogSeq), "The newest log row shown here, from transaction " + f.TXID.String() + ".", false},
		{"Segments to download", humanize.Number(int64(f.MissingSegments)), humanize.Bytes(f.MissingBytes) +
			" to download before this server shows the newer state.", false},
	}
	if f.LastError != "" {
		facts = append(facts, fact{"Last failure", moment(f.LastErrorAt), humanize.Capital(f.LastError),
			f.State == "failing"})
	}
	return facts
}

func lastSuccess(r *wire.Replication) string {
	if r.LastSuccess == "" {
		return "weft has uploaded nothing to " + r.Replica + " yet."
	}
	return "Last upload to " + r.Replica + ": " + moment(r.LastSuccess) + "."
}

func logRows(oldest, newest uint64) int64 {
	if oldest == 0 || newest < oldest {
		return 0
	}
	return int64(newest - oldest + 1)
}

func working(sealing, compacting bool) string {
	switch {
	case sealing && compacting:
		return "seal, compaction"
	case sealing:
		return "seal"
	case compacting:
		return "compaction"
	}
	return "none"
}

// position formats a position of an upstream: a sequence number, or from 10^15 on a time.
func position(pos uint64) string {
	if pos >= 1_000_000_000_000_000 && pos <= math.MaxInt64 {
		return utc(int64(pos))
	}
	return humanize.Number(int64(min(pos, math.MaxInt64)))
}

func perLink(bytes, links int64) string {
	if links <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", float64(bytes)/float64(links))
}

func percent(n, of int64) float64 {
	if of <= 0 {
		return 0
	}
	return min(100, float64(n)/float64(of)*100)
}
