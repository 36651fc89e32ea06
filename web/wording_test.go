package web_test

import (
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/web"
)

var (
	tagPattern   = regexp.MustCompile(`<[^>]*>`)
	spacePattern = regexp.MustCompile(`\s+`)
	// onePattern matches a plural noun after the number one: "1 links".
	onePattern = regexp.MustCompile(
		`(^|[^\d,.:])1 (links|accounts|kinds|records|bytes|pages|others|likes|reposts|replies|quotes|follows|mentions)\b`)
	// clockPattern matches a time of day, with its zone if it has one.
	clockPattern = regexp.MustCompile(`\b\d\d:\d\d(:\d\d)?\b( UTC)?`)
	// datedPattern matches a time of day after a date.
	datedPattern = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?( UTC)?`)
)

// TestWording checks the texts of all pages over an index whose lists mostly have one link: a noun agrees with its
// number, a time has a date and a zone, and a table has a caption. A column heading may give the zone of its column.
func TestWording(t *testing.T) {
	t.Parallel()
	h := serve(t, index(t, 1), web.Config{Lag: func() time.Duration { return 0 }})
	follow := form("subject", alice, "source", "app.bsky.graph.follow:subject")
	old := form("target", alice, "collection", "app.bsky.graph.follow", "path", ".subject")
	addresses := append(pages(), "/links?"+old, "/links/count?"+old, "/links/distinct-dids?"+old,
		"/links/count/distinct-dids?"+old,
		"/xrpc/dev.weft.links.getBacklinks?"+follow, "/xrpc/dev.weft.links.getBacklinkDids?"+follow,
		"/xrpc/dev.weft.links.getCounts?"+follow)
	tables, ones := 0, 0
	for _, address := range addresses {
		page, _, _ := strings.Cut(browse(h, address).Body.String(), `aria-label="For programs"`)
		for _, table := range strings.Split(page, "<table")[1:] {
			tables++
			_, table, _ = strings.Cut(table, ">")
			if !strings.HasPrefix(strings.TrimSpace(table), "<caption") {
				t.Errorf("%s: a table has no caption: %.200s", address, table)
			}
		}
		if strings.Contains(page, "<summary>Show as a table") { // its column heading says UTC
			page = regexp.MustCompile(`(?s)<details>\s*<summary>Show as a table.*?</details>`).ReplaceAllString(page, "")
			page = regexp.MustCompile(`(?s)<div class="axis".*?</div>`).ReplaceAllString(page, "") // the caption above says UTC
		}
		text := spacePattern.ReplaceAllString(html.UnescapeString(tagPattern.ReplaceAllString(page, "")), " ")
		if wrong := onePattern.FindString(text); wrong != "" {
			t.Errorf("%s: %q", address, wrong)
		}
		if strings.Contains(text, "1 link ") || strings.Contains(text, "1 like ") || strings.Contains(text, "1 follow ") ||
			strings.Contains(text, "1 account ") {
			ones++
		}
		for _, dated := range datedPattern.FindAllString(text, -1) {
			if !strings.HasSuffix(dated, " UTC") {
				t.Errorf("%s: the time %q has no zone", address, dated)
			}
		}
		for _, clock := range clockPattern.FindAllString(datedPattern.ReplaceAllString(text, ""), -1) {
			t.Errorf("%s: the time %q has no date", address, clock)
		}
	}
	if tables < 8 || ones < 4 {
		t.Errorf("only %d tables, and %d pages with a single link, were seen", tables, ones)
	}
	if page := browse(h, "/").Body.String(); !strings.Contains(page, `data-live="lag">unknown<`) {
		t.Error("before the first event, the first page gives a lag")
	}
}
