package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed assets
var assetFiles embed.FS

// asset is a file that pages load. Its address contains its hash, so that it can be cached for ever.
type asset struct {
	body    []byte
	gzip    []byte // compressed body
	kind    string
	version string
}

// loadAssets reads the files, keyed by their paths.
func loadAssets() map[string]asset {
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		panic(err)
	}
	assets := map[string]asset{}
	for _, e := range entries {
		body, err := assetFiles.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(body)
		assets["/assets/"+e.Name()] = asset{body, gzipped(body), mime.TypeByExtension(path.Ext(e.Name())),
			base64.RawURLEncoding.EncodeToString(sum[:6])}
	}
	// browsers request it for answers that don't name an icon, such as JSON
	assets["/favicon.ico"] = assets["/assets/icon.svg"]
	return assets
}

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	protect(h)
	h.Set("Content-Type", a.kind)
	h.Set("ETag", `"`+a.version+`"`)
	if r.URL.Query().Get("v") == a.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable") // caches treat a year as for ever
	} else {
		h.Set("Cache-Control", "public, max-age=300")
	}
	h.Set("Vary", "Accept-Encoding")
	body := a.body
	if takesGzip(r) {
		h.Set("Content-Encoding", "gzip")
		h.Set("ETag", `"`+a.version+`-gzip"`)
		body = a.gzip
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// takesGzip reports whether a client takes an answer in gzip.
func takesGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, quality, _ := strings.Cut(strings.ReplaceAll(part, " ", ""), ";q=")
		if strings.EqualFold(name, "gzip") {
			return quality == "" || strings.Trim(quality, "0.") != "" // q=0: not this one
		}
	}
	return false
}

func gzipped(body []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is valid
	_, _ = w.Write(body)                                  // into memory, neither fails
	_ = w.Close()
	return b.Bytes()
}
