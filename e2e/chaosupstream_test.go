package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/link"
)

// hostile is a Jetstream of wire v1 whose accounts write the most harmful records, with a model of the expected index.
type hostile struct {
	*httptest.Server
	r *rand.Rand
	x *extract.Extractor

	mu    sync.Mutex
	grown sync.Cond // on mu: the log has grown or ended
	log   []hostileFrame
	ended bool

	model   dbtest.Model
	nowUS   int64
	likes   []apply.Event // some are deleted later
	counted map[string]int
}

// hostileFrame is an event on the wire; us is also its cursor.
type hostileFrame struct {
	us   int64
	text []byte
}

const (
	hostilePost   = "at://did:plc:victimvictimvictimvictim/app.bsky.feed.post/3kaaaaaaaaaaa"
	flapAccounts  = 3
	flapRecords   = 2_500 // more than change in one transaction
	tinyLinks     = 1_000
	sourcePaths   = 400
	hugeBytes     = 600_000
	crowd         = 2_000 // well-behaved accounts
	returnRecords = 3_000
)

func serveHostile(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{r: rand.New(rand.NewPCG(13, 13)), x: extract.New(extract.Limits{}),
		nowUS:   time.Now().Add(-time.Hour).UnixMicro(),
		counted: map[string]int{}}
	h.grown.L = &h.mu
	mux := http.NewServeMux()
	mux.HandleFunc("GET /subscribe", h.subscribe)
	h.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		h.end()
		h.CloseClientConnections()
		h.Close()
	})
	return h
}

// end ends the streams of subscribers that have all events.
func (h *hostile) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	h.grown.Broadcast()
}

// subscribe sends the log from a cursor on, as Jetstream does.
func (h *hostile) subscribe(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	ctx := c.CloseRead(r.Context())
	cursor, _ := strconv.ParseInt(r.FormValue("cursor"), 10, 64)
	for i := 0; ; i++ {
		h.mu.Lock()
		for i >= len(h.log) && !h.ended {
			h.grown.Wait()
		}
		if i >= len(h.log) {
			h.mu.Unlock()
			return
		}
		frame := h.log[i]
		h.mu.Unlock()
		if frame.us < cursor {
			continue
		}
		if c.Write(ctx, websocket.MessageText, frame.text) != nil {
			return
		}
	}
}

// tip returns the cursor of the newest event.
func (h *hostile) tip() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log[len(h.log)-1].us
}

func (h *hostile) did(kind string, i int) string {
	return fmt.Sprintf("did:plc:%s%s", kind, strings.Repeat("a", 24-len(kind)-6)) + hostileDigits(i)
}

// hostileDigits returns six characters of the alphabet of did:plc.
func hostileDigits(i int) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	var b [6]byte
	for j := len(b) - 1; j >= 0; j-- {
		b[j] = alphabet[i&31]
		i >>= 5
	}
	return string(b[:])
}

func (h *hostile) put(e apply.Event, text []byte) {
	h.model.Apply(e)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log = append(h.log, hostileFrame{e.TimeUS, text})
	h.grown.Broadcast()
}

// next returns the time and the revision of the next event.
func (h *hostile) next() (us int64, rev string) {
	h.nowUS = max(h.nowUS+7, time.Now().UnixMicro())
	return h.nowUS, string(link.AppendTID(nil, uint64(h.nowUS)<<10))
}

// commit writes a record; an empty one deletes it.
func (h *hostile) commit(did, collection, rkey, record string) apply.Event {
	us, rev := h.next()
	if rkey == "" {
		rkey = rev
	}
	e := apply.Event{Seq: uint64(us), TimeUS: us, Op: db.OpCreate, DID: did, Collection: collection, Rkey: rkey, Rev: rev}
	operation, more := "create", ""
	if record == "" {
		e.Op, operation = db.OpDelete, "delete"
	} else {
		more = `,"record":` + record + `,"cid":"bafyreigdmqpykrgxyaxtlafqpqhzrb7qy2rh75nldvfd4kvnpiq5kgd3mi"`
		links, err := h.x.JSON([]byte(record))
		if err != nil {
			panic(err)
		}
		for _, l := range links {
			e.Links = append(e.Links, db.Link{Path: string(l.Path), Target: string(l.Target)})
		}
	}
	h.put(e,
		fmt.Appendf(nil,
			`{"did":%q,"time_us":%d,"kind":"commit","commit":{"rev":%q,"operation":%q,"collection":%q,"rkey":%q%s}}`,
			did, us, rev, operation, collection, rkey, more))
	return e
}

func (h *hostile) account(did string, status db.Status, name string) {
	us, _ := h.next()
	more := `"active":true`
	if name != "" {
		more = `"active":false,"status":"` + name + `"`
	}
	h.put(apply.Event{Seq: uint64(us), TimeUS: us, Op: db.OpAccount, DID: did, Status: status},
		fmt.Appendf(nil,
			`{"did":%q,"time_us":%d,"kind":"account","account":{"did":%q,"seq":1,"time":"2026-01-01T00:00:00Z",%s}}`,
			did, us, did, more))
}

func hostileLike(target string) string {
	return `{"$type":"app.bsky.feed.like","subject":{"uri":"` + target +
		`","cid":"bafyreigdmqpykrgxyaxtlafqpqhzrb7qy2rh75nldvfd4kvnpiq5kgd3mi"}}`
}

// begin writes the records that the hostile accounts need.
func (h *hostile) begin() {
	for i := range flapAccounts * flapRecords {
		h.commit(h.did("flap", i%flapAccounts), "app.bsky.feed.like", "", hostileLike(hostilePost))
	}
	h.fillReturning()
}

func (h *hostile) fillReturning() {
	for range returnRecords {
		h.commit(h.did("back", 0), "app.bsky.graph.follow", "", `{"subject":"did:plc:victimvictimvictimvictim"}`)
	}
}

// step writes the next event or events.
func (h *hostile) step() {
	switch n := h.r.IntN(1000); {
	case n < 100: // changes its status repeatedly
		did := h.did("flap", h.r.IntN(flapAccounts))
		for range 1 + h.r.IntN(8) {
			h.account(did, db.StatusDeactivated, "deactivated")
			h.account(did, db.StatusActive, "")
		}
		if h.r.IntN(2) == 0 {
			h.account(did, db.StatusSuspended, "suspended")
		}
		h.counted["flaps"]++
	case n < 103: // a record of very many links
		var b strings.Builder
		for i := range tinyLinks {
			fmt.Fprintf(&b, `,"https://a.b/%d"`, h.r.IntN(200)+i%2)
		}
		h.commit(h.did("tiny", h.r.IntN(20)), "app.evil.tiny", "", `{"$type":"app.evil.tiny","a":[`+b.String()[1:]+`]}`)
		h.counted["tiny"]++
	case n < 105: // a record of very many sources
		var b strings.Builder
		for i := range sourcePaths {
			fmt.Fprintf(&b, `,"p%d":{"uri":"at://did:plc:victimvictimvictimvictim/app.bsky.feed.post/3kaaaaaaaaaab"}`, i)
		}
		h.commit(h.did("path", h.r.IntN(20)), "app.evil.paths", "self", `{"$type":"app.evil.paths"`+b.String()+`}`)
		h.counted["sources"]++
	case n < 106: // a large record with a larger frame
		text, _ := json.Marshal(strings.Repeat("\x01", hugeBytes/6))
		h.commit(h.did("huge", h.r.IntN(5)), "app.evil.huge", "",
			`{"$type":"app.evil.huge","text":`+string(text)+`,"subject":"`+hostilePost+`"}`)
		h.counted["huge"]++
	case n == 106: // is deleted and returns at once
		h.account(h.did("back", 0), db.StatusDeleted, "deleted")
		h.account(h.did("back", 0), db.StatusActive, "")
		if h.counted["returns"]++; h.counted["returns"]%5 == 1 {
			h.fillReturning()
		}
	case n < 250 && len(h.likes) > 0: // removes a like
		e := h.likes[0]
		h.likes = h.likes[1:]
		h.commit(e.DID, e.Collection, e.Rkey, "")
	default:
		h.likes = append(h.likes, h.commit(h.did("good", h.r.IntN(crowd)), "app.bsky.feed.like", "",
			hostileLike(hostilePost)))
	}
}
