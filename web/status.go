package web

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// statusPage is what the page shows.
type statusPage struct {
	statusAnswer
	Upstream    []fact
	Curves      []curve
	Index       []fact
	Levels      []level
	Disk        []fact
	Shares      []share
	Replication []fact
	Replicates  *statusReplication
	Follows     *statusUpstream
	Copies      *statusFollowing
	Replay      *replayBar
}

// fact is a figure, and what it says in a sentence.
type fact struct {
	Name, Value, Note string
	Bad               bool // somebody should look
}

// level is the segments of a level, with the width of their bar in percent.
type level struct {
	Level        int
	Files, Links int64
	Bytes        string
	PerLink      string
	Width        float64
}

// share is a part of a bar of 100, with the colour of its thread.
type share struct {
	Name, Bytes, Thread string
	X, W                float64
}

// curve is a figure of the last minutes.
type curve struct {
	Name, Now, Note, Label, Thread string
	Points                         string // of a polyline in a box of 300 by 60
	Area                           string
}

type replayBar struct {
	Host, Done, Left string
	Width            float64
}

func (s *Server) status(_ context.Context, a *answer) (*view, error) {
	p := statusPage{}
	if err := a.decode(&p.statusAnswer); err != nil {
		return nil, err
	}
	p.Follows, p.Replicates = p.statusAnswer.Upstream, p.statusAnswer.Replication
	p.Upstream, p.Replay = upstreamFacts(p.Follows), replayOf(p.Follows)
	p.Curves = p.curves()
	p.Index, p.Levels = p.indexFacts(), p.levels()
	p.Disk, p.Shares = p.diskFacts(s.Now()), p.shares()
	p.Replication = replicationFacts(p.Replicates)
	if p.Copies = p.statusAnswer.Following; p.Copies != nil {
		p.Upstream = followingFacts(p.Copies)
	}
	return &view{Title: "Status", About: "How this index is: what it follows, what it holds, what it misses.", Main: p}, nil
}

func upstreamFacts(u *statusUpstream) []fact {
	if u == nil {
		return nil
	}
	connected := fact{Name: "Following", Value: u.Host, Note: "Events come in from this server."}
	if !u.Connected {
		connected = fact{"Not following", u.Host, "The connection is down: " + u.Detail + ". What the index has stays right, and grows old.", true}
	}
	if u.Kind != "" {
		connected.Note += " It speaks Jetstream " + u.Kind + "."
	}
	facts := []fact{
		connected,
		{"Lag", seconds(u.LagSeconds), "How far the newest event lies behind the clock. A server that follows is within a few seconds; one that replays an archive begins days behind.", u.LagSeconds > 60},
		{"Waiting", num(u.Queued), "Events that were received and are not committed yet. A number that only grows says that this machine is too slow.", false},
		{"Position", position(u.Committed), "Up to this event of the server all is in the index. After a restart it goes on from here.", false},
	}
	if u.Degraded != "" {
		facts = append(facts, fact{"Less than all", u.Kind, "What this server can't do: " + u.Degraded + ".", true})
	}
	if u.Slice != "" {
		facts = append(facts, fact{"Kept", u.Slice, "The part of the network that this index keeps links of.", false})
	}
	return facts
}

func replayOf(u *statusUpstream) *replayBar {
	if u == nil || u.Replay == nil || u.Replay.Events <= 0 {
		return nil
	}
	r := u.Replay
	bar := &replayBar{Host: r.Host, Width: percent(r.EventsDone, r.Events), Done: fmt.Sprintf("%s of about %s events, %s of %s, %s a second",
		short(r.EventsDone), short(r.Events), size(r.BytesDone), size(r.Bytes), short(int64(r.Rate)))}
	if r.ETA > 0 {
		bar.Left = "about " + seconds(r.ETA) + " to go"
	}
	return bar
}

func (p *statusPage) indexFacts() []fact {
	i := &p.statusAnswer.Index
	facts := []fact{
		{"Links", num(i.Links), "Links of active accounts: what counts and lists are made of.", false},
		{"Records", num(i.Records), "Records that link to something, those of inactive accounts too.", false},
		{"Accounts", num(i.Actors), "Accounts ever seen, linking or linked.", false},
		{"Log", num(logRows(i.LogOldest, i.LogSeq)), fmt.Sprintf("Rows of the log that are kept, up to number %s: each is a record or an account that changed. Streams are read from here.", num(int64(i.LogSeq))), false},
		{"In no segment yet", num(i.Unsealed), "Rows of the log whose links are in memory only. A start reads them again, so that nothing is lost.", false},
		{"Sorted runs", num(i.Runs), "What a question looks through, in memory and in segments. Merges keep it small.", false},
		{"Work under way", working(i.Sealing, i.Merging), "Sealing writes links from memory into a segment, merging makes one segment of several. Neither holds up a question.", false},
		{"Accounts changing", num(i.Jobs), "Changes of status of large accounts that are under way. While there is one, a count may differ from its list.", false},
	}
	if p.Space.Written != nil {
		facts = append(facts, fact{"Write amplification", fmt.Sprintf("%.1f×", *p.Space.Written), "Bytes written since the start for each byte that was sealed into segments: the write-ahead log, checkpoints of it, seals and merges. What replication writes is not in it. Less is easier on a disk.", false})
	}
	if p.Degraded != "" {
		facts = append([]fact{{"Degraded", "look", p.Degraded + ". Answers are as they should be meanwhile.", true}}, facts...)
	}
	if i.Failed != "" {
		facts = append([]fact{{"Writing has stopped", "a fault", i.Failed + ". Questions are still answered. Mend the cause and start weft again: it goes on from what is committed.", true}}, facts...)
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
		levels = append(levels, level{l.Level, l.Files, l.Links, size(l.Bytes), perLink(l.Bytes, l.Links), percent(l.Bytes, most)})
	}
	return levels
}

func (p *statusPage) diskFacts(now time.Time) []fact {
	sp := &p.Space
	var facts []fact
	if sp.PerLink != nil {
		facts = append(facts, fact{"For each link", fmt.Sprintf("%.1f bytes", *sp.PerLink), "All files together, divided by the links. It falls as segments are merged.", false})
	}
	if sp.Free != nil && sp.Total != nil {
		facts = append(facts, fact{"Free", size(*sp.Free), "Of " + size(*sp.Total) + " on the disk with the data directory. When it is full, writing stops and questions go on.", *sp.Free*20 < *sp.Total})
	}
	switch over := seconds(sp.Measured); {
	case sp.Growth == nil:
		facts = append(facts, fact{"Full", "not known yet", "When the disk is full is said once its growth was watched for half an hour.", false})
	case sp.FullAt != nil:
		facts = append(facts, fact{"Full", "in " + seconds(sp.FullAt.Sub(now).Seconds()), "On " + sp.FullAt.Format("2 January 2006") + ", if it goes on as in the last " + over + ": " + size(*sp.Growth) + " a day.",
			sp.FullAt.Sub(now) < 14*24*time.Hour})
	case *sp.Growth <= 0:
		facts = append(facts, fact{"Full", "not so", "In the last " + over + " the index has not grown.", false})
	default:
		facts = append(facts, fact{"Full", "in many years", "At " + size(*sp.Growth) + " a day, as in the last " + over + ".", false})
	}
	return append(facts, fact{"Memory", size(sp.Memory), "What the links in memory take. A seal moves them to the disk at 24 MiB.", false})
}

func (p *statusPage) shares() []share {
	sp := &p.Space
	parts := []share{
		{Name: "segments", Bytes: size(sp.Segments), Thread: "indigo", W: float64(sp.Segments)},
		{Name: "weft.db, with the log", Bytes: size(sp.Database), Thread: "weld", W: float64(sp.Database)},
		{Name: "its WAL", Bytes: size(sp.WAL), Thread: "madder", W: float64(sp.WAL)},
	}
	all := 0.0
	for _, part := range parts {
		all += part.W
	}
	x := 0.0
	for i := range parts {
		if all > 0 {
			parts[i].X, parts[i].W = x, parts[i].W/all*100
		}
		x += parts[i].W
	}
	return parts
}

func replicationFacts(r *statusReplication) []fact {
	if r == nil {
		return nil
	}
	bad := r.State != "ok"
	facts := []fact{
		{"State", r.State, strings.TrimSpace(r.Do + " " + lastSuccess(r)), bad},
		{"Behind", seconds(r.Seconds), fmt.Sprintf("%s and %s that are committed here and not there yet: what a lost disk would cost.", counted(r.Transactions, "transaction"), size(r.Bytes)), r.Seconds > 60},
		{"Position", position(r.Remote), "The newest transaction in the replica. Here it is " + position(r.Local) + ".", false},
		{"Safe", position(r.Durable), "The newest row of the log that the replica has, of " + position(r.LogSeq) + ".", false},
		{"Segments waiting", num(r.Waiting), size(r.WaitingBytes) + " that are to be uploaded before the database may name them.", false},
		{"Uploaded", size(r.Uploaded), "Since this process began.", false},
	}
	verified := fact{"Last restore that was checked", "none yet", "A replica is worth what a restore from it is: weft verify restores a copy and checks it, and serve does with --verify-every.", false}
	if v := r.Verification; v != nil {
		verified.Value = v.Outcome + ", " + v.EndedAt.UTC().Format("2006-01-02 15:04")
		verified.Note = fmt.Sprintf("A copy was restored, to row %s of the log, with %s; it was %s old.", position(v.LogSeq), counted(v.Segments, "segment"), seconds(v.AgeSeconds))
		if v.Outcome != "ok" {
			verified.Note, verified.Bad = strings.Join(v.Faults, "; "), true
		}
	}
	if facts = append(facts, verified); r.LastError != "" {
		facts = append(facts, fact{"Last failure", r.LastErrorAt, r.LastError, r.State == "failing"})
	}
	return facts
}

// followingFacts are those of a copy.
func followingFacts(f *statusFollowing) []fact {
	note := "What is shown here comes from this replica of another weft, which alone is written to."
	if f.State != "ok" && f.Do != "" {
		note = f.Do
	}
	facts := []fact{
		{"Copies", f.Replica, note, f.State == "failing"},
		{"State", f.State, "ok, waiting for segments that are being fetched, or failing.", f.State == "failing"},
		{"Behind", seconds(f.LagSeconds), "How long ago the other weft had what is shown here. It grows while that one has nothing new.", f.LagSeconds > 60},
		{"Last look", seconds(f.LookSeconds) + " ago", "When all was shown that the replica had.", f.LookSeconds > 60},
		{"Position", position(f.LogSeq), "The newest row of the log that is shown, of transaction " + f.TXID + ".", false},
		{"Segments on their way", num(f.Missing), size(f.MissingBytes) + " that are being fetched before what names them is shown.", false},
	}
	if f.LastError != "" {
		facts = append(facts, fact{"Last failure", f.LastErrorAt, f.LastError, f.State == "failing"})
	}
	return facts
}

func lastSuccess(r *statusReplication) string {
	if r.LastSuccess == "" {
		return "Nothing has been uploaded yet to " + r.Replica + "."
	}
	return "Last uploaded to " + r.Replica + " at " + r.LastSuccess + "."
}

// The box of a curve.
const curveWidth, curveHeight = 300.0, 60.0

func (p *statusPage) curves() []curve {
	points := p.History.Points
	if len(points) < 2 {
		return nil
	}
	draw := func(name, note, thread, unit string, of func(i int) float64) curve {
		c := curve{Name: name, Note: note, Thread: thread}
		newest, sorted := of(len(points)-1), make([]float64, len(points))
		for i := range points {
			sorted[i] = max(of(i), 0)
		}
		slices.Sort(sorted)
		most := sorted[len(sorted)-1]
		// A replay is a hundred times as fast as what follows it, and would make a line on the ground of the rest: what is far
		// above the usual is cut off.
		high := max(1, most)
		if usual := sorted[len(sorted)/2]; usual > 1 {
			high = min(high, 4*usual)
		}
		var b strings.Builder
		for i := range points {
			x := curveWidth * float64(i) / float64(len(points)-1)
			y := curveHeight - 2 - (curveHeight-4)*min(max(of(i), 0), high)/high
			fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
		}
		c.Points = strings.TrimSpace(b.String())
		c.Area = fmt.Sprintf("0,%.0f %s %.0f,%.0f", curveHeight, c.Points, curveWidth, curveHeight)
		span := seconds(p.History.Every * float64(len(points)))
		c.Now = figure(newest) + unit
		c.Label = fmt.Sprintf("%s over the last %s: %s%s now, %s%s at most", name, span, figure(newest), unit, figure(most), unit)
		return c
	}
	return []curve{
		draw("Events a second", "What the upstream sends, those of no concern among them.", "indigo", "", func(i int) float64 { return points[i].Events }),
		draw("Links a second", "What the index has gained, less what was taken back.", "moss", "", func(i int) float64 { return points[i].Links }),
		draw("Lag", "Seconds behind the clock.", "madder", " s", func(i int) float64 { return points[i].Lag }),
	}
}

func logRows(oldest, newest uint64) int64 {
	if oldest == 0 || newest < oldest {
		return 0
	}
	return int64(newest - oldest + 1)
}

func working(sealing, merging bool) string {
	switch {
	case sealing && merging:
		return "sealing, merging"
	case sealing:
		return "sealing"
	case merging:
		return "merging"
	}
	return "none"
}

// position writes a number of an upstream, or the time that it is from 10^15 on.
func position(pos uint64) string {
	if pos >= 1_000_000_000_000_000 && pos <= math.MaxInt64 {
		return utc(int64(pos))
	}
	return num(int64(min(pos, math.MaxInt64)))
}

// size writes bytes with the unit that fits.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d bytes", n)
	}
	v, unit := float64(n), ""
	for _, unit = range []string{"kB", "MB", "GB", "TB"} {
		if v /= 1000; v < 999.95 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", v, unit)
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

// seconds writes a time that has passed, or will, in the unit that fits.
func seconds(s float64) string {
	switch {
	case s < 1:
		return fmt.Sprintf("%.0f ms", max(s, 0)*1000)
	case s < 10:
		return fmt.Sprintf("%.1f s", s)
	case s < 120:
		return fmt.Sprintf("%.0f seconds", s)
	case s < 2*3600:
		return fmt.Sprintf("%.0f minutes", s/60)
	case s < 48*3600:
		return fmt.Sprintf("%.0f hours", s/3600)
	}
	return num(int64(s/86400)) + " days"
}

func figure(v float64) string {
	if math.Abs(v) < 10 && v != math.Trunc(v) {
		return fmt.Sprintf("%.1f", v)
	}
	return num(int64(math.Round(v)))
}

func counted(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return num(n) + " " + noun
}
