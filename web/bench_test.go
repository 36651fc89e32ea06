package web_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"weft.dev/weft/web"
)

// BenchmarkPages renders the pages of a target with ten links and of one whose links fill several segments.
func BenchmarkPages(b *testing.B) {
	for _, likes := range []int{10, 1_000_000} {
		h := serve(b, index(b, likes), web.Config{})
		for name, target := range map[string]string{
			"home":    "/",
			"explore": "/links/all?" + form("target", post),
			"record":  "/links/all?" + form("target", "at://"+bob+"/com.example.evil/a:b_c~d.e-f"),
			"web":     "/links/all?" + form("target", "https://example.com/a?b=c#d"),
			"list":    "/xrpc/dev.weft.links.getBacklinks?" + form("subject", post, "source", like, "limit", "10"),
		} {
			b.Run(fmt.Sprintf("%s/%d", name, likes), func(b *testing.B) {
				var w *httptest.ResponseRecorder
				for b.Loop() {
					w = browse(h, target)
				}
				b.ReportMetric(float64(w.Body.Len()), "B/page")
			})
		}
	}
}
