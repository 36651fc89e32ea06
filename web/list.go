package web

import (
	"cmp"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/humanize"
	"weft.dev/weft/link"
)

// textNames are the members of a record that may contain its author's text. The first existing one is shown.
var textNames = []string{"text", "title", "name", "displayName", "description"}

// textOf returns the text of a record; empty: none.
func textOf(value json.RawMessage) string {
	var record map[string]json.RawMessage
	if len(value) == 0 || json.Unmarshal(value, &record) != nil {
		return ""
	}
	text := ""
	for _, name := range textNames {
		if json.Unmarshal(record[name], &text) == nil && text != "" {
			break
		}
		text = ""
	}
	if runes := []rune(text); len(runes) > maxSays {
		text = string(runes[:maxSays]) + "…"
	}
	return text
}

// maxSays limits the displayed text, in characters: the length of a post.
const maxSays = 300

// listPage is a page of a list.
type listPage struct {
	Target  target
	Source  source // source of the links; without a collection: several
	What    string // links, accounts…
	Heading string // the heading, after the total or alone
	Total   *int64
	Linkers []linker
	Others  []other
	Filter  filterForm
	Tabs    []tab
	Pages   pager
	Empty   bool
	Export  bool
}

// other is the other link of a many-to-many item.
type other struct {
	Text, Kind, Href string
	Total, Distinct  int64
}

// tab is a link to another view of the same list.
type tab struct {
	Text, Href string
	Here       bool
}

// filterForm is the form of a list's filters.
type filterForm struct {
	Action     string
	Hidden     [][2]string // parameters that the form doesn't change
	DIDs       string
	Since      string
	Until      string
	Oldest     bool
	HasDIDs    bool
	HasTime    bool
	HasReverse bool
	HasText    bool // the list can show the text of records
	Text       bool
	Limit      string
	On         bool // a filter is set
	Reset      string
}

// pager has links to the first and the previous pages, and to the next.
type pager struct{ First, Back, On string }

// list builds the page of every method that returns records or accounts.
func (s *Server) list(a *answer, found listed) *view {
	q := a.params()
	ofAccount := a.path == routes.GetAccountBacklinks.Path
	subject := cmp.Or(q.Get("subject"), q.Get("target"))
	if ofAccount {
		subject = q.Get("did")
	}
	p := &listPage{Target: s.targetOf(a.request, subject), Total: found.total, Filter: filtersOf(a),
		Pages: pagerOf(a, found.cursor)}
	if collection, path, ok := askedSource(q); ok && !ofAccount {
		p.Source = sourceOf(p.Target.Text, collection, path, 0, 0)
	}
	p.Linkers = s.linkersOf(found.links)
	p.What = "links"
	for _, did := range found.dids {
		l := s.accountLinker(did)
		l.Open = s.openIn(did, "", "", nil)
		p.Linkers = append(p.Linkers, l)
	}
	if found.accounts {
		p.What = "accounts"
	}
	for _, o := range found.others {
		p.Others = append(p.Others, other{o.Subject, kindText(o.Subject), explore(o.Subject), o.Total, o.Distinct})
	}
	if found.others != nil {
		p.What = "other subjects"
	}
	p.Empty = len(p.Linkers) == 0 && len(p.Others) == 0
	if p.Source.Collection != "" && p.What != "other subjects" && !found.many {
		p.Tabs = []tab{{"Links", p.Source.Href, p.What == "links"}, {"Accounts", p.Source.WhoHref, p.What == "accounts"}}
	}
	if ofAccount {
		p.What = "links to the account and all of its records"
	}
	p.Heading = p.heading()
	p.Target.About = append([]way{{"All links to this " + p.Target.Kind, explore(p.Target.Text)}}, p.Target.About...)
	title := cmp.Or(p.Target.Name, targetText(p.Target.Text))
	what := strings.TrimSuffix(humanize.Capital(p.What), " to the account and all of its records") + " to "
	if name := p.Source.Name(); name != "" {
		what = name + ": "
	}
	return &view{Title: what + title, Target: p.Target.Text, Main: p, Feeds: feedsOf(p.Target, p.Source.Text)}
}

// heading returns the heading in the grammatical number of the total, with the name of the links' kind if it has one.
func (p *listPage) heading() string {
	total := int64(2)
	if p.Total != nil {
		total = *p.Total
	}
	noun, rest, _ := strings.Cut(p.What, " ")
	heading := strings.TrimSpace(humanize.Plural(total, strings.TrimSuffix(noun, "s")) + " " + rest)
	if name := p.Source.Name(); name != "" {
		switch p.What {
		case "links":
			heading = p.Source.Noun(total)
		case "accounts":
			heading += " from " + p.Source.Noun(2)
		}
	}
	if p.Total == nil {
		return humanize.Capital(heading)
	}
	return heading
}

// askedSource returns the single source of a list.
func askedSource(q url.Values) (collection, path string, ok bool) {
	if text := q["source"]; len(text) == 1 {
		collection, path, ok = strings.Cut(text[0], ":")
	} else if q.Has("collection") {
		collection = q.Get("collection")
		path = q.Get("path")
		ok = true
	}
	return collection, strings.TrimPrefix(path, "."), ok
}

func (s *Server) linkersOf(records []wire.AccountLink) []linker {
	linkers := make([]linker, len(records))
	for i, r := range records {
		l := s.accountLinker(r.DID)
		l.Record = "at://" + r.DID + "/" + r.Collection + "/" + r.Rkey
		l.Rkey = r.Rkey
		l.Href = explore(l.Record)
		path := ""
		if r.Source != "" {
			_, path, _ = strings.Cut(r.Source, ":")
		}
		l.Verb = verb(r.Collection, path, false)
		l.Color = sourceColor(r.Collection, path)
		l.Time, _ = time.Parse(time.RFC3339Nano, r.Time)
		if tid, ok := link.ParseTID(r.Rkey); ok && r.Time == "" {
			l.Time = time.UnixMicro(link.TIDTimeUS(tid)).UTC()
		}
		if r.Subject != "" {
			to := s.subjectLink(r.Subject)
			l.What = &to
		}
		l.Says = textOf(r.Value)
		l.Open = s.openIn(r.DID, r.Collection, r.Rkey, r.Value)
		linkers[i] = l
	}
	return linkers
}

func (s *Server) accountLinker(did string) linker {
	return linker{DID: did, Who: s.name(did), AvatarColor: avatarColor(did), Initials: initials(s.name(did)),
		WhoHref: explore(did)}
}

// maxTrail is the number of pages that a visitor can go back one by one: more would make the address longer than some
// proxies accept.
const maxTrail = 40

// pagerOf returns the links to other pages. A cursor leads only forward, so that the address contains the cursors of
// the previous pages. That of the first page is empty.
func pagerOf(a *answer, next *string) pager {
	q := a.params()
	shown := a.request.URL.Query()
	here := q.Get("cursor")
	var trail []string
	if text := shown.Get(trailParameter); text != "" && here != "" {
		trail = strings.Split(text, ".")
	}
	to := func(cursor string, trail []string) string {
		v := url.Values{}
		for name, values := range q {
			v[name] = values
		}
		v.Del("cursor")
		if cursor != "" {
			v.Set("cursor", cursor)
		}
		if len(trail) > 0 {
			v.Set(trailParameter, strings.Join(trail[max(0, len(trail)-maxTrail):], "."))
		}
		return a.path + "?" + readable.Replace(v.Encode())
	}
	var p pager
	if next != nil {
		p.On = to(*next, append(trail[:len(trail):len(trail)], cmp.Or(here, "0")))
	}
	if here != "" {
		p.First = to("", nil)
		p.Back = p.First
		if n := len(trail); n > 0 && trail[n-1] != "0" {
			p.Back = to(trail[n-1], trail[:n-1])
		}
	}
	return p
}

// filtersOf returns the form of a list's filters with the query's values.
func filtersOf(a *answer) filterForm {
	q := a.params()
	f := filterForm{Action: a.path, DIDs: q.Get("did"), Since: dayOf(q.Get("since")), Until: dayOf(q.Get("until")),
		Oldest: q.Get("reverse") == "true", Limit: q.Get("limit")}
	def := definitions.At(a.path)
	f.HasTime = def.Param("since") != nil
	f.HasText = def.Param("hydrate") != nil
	f.Text = q.Get("hydrate") == "true"
	f.HasReverse = def.Param("reverse") != nil
	// The account of getAccountBacklinks is required and so isn't a filter.
	f.HasDIDs = def.Param("did") != nil && !def.Requires("did")
	if !f.HasDIDs {
		f.DIDs = ""
	}
	stays := map[string]bool{"subject": true, "target": true, "source": true, "collection": true, "path": true,
		"pathToOther": true, "limit": true, "from_dids": true, "linkDid": true, "otherSubject": true}
	if !f.HasDIDs {
		stays["did"] = true
	}
	var reset []string
	for _, name := range []string{"subject", "target", "did", "source", "collection", "path", "pathToOther", "limit",
		"from_dids", "linkDid", "otherSubject"} {
		for _, v := range q[name] {
			if stays[name] {
				f.Hidden = append(f.Hidden, [2]string{name, v})
				reset = append(reset, name, v)
			}
		}
	}
	f.On = f.HasDIDs && f.DIDs != "" || f.Since != "" || f.Until != "" || f.Oldest || f.Text
	f.Reset = a.path + "?" + form(reset...)
	return f
}

// dayOf returns the date of a time for a form.
func dayOf(text string) string { return text[:min(len(text), len(time.DateOnly))] }
