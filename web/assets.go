package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"mime"
	"net/http"
	"path"
	"time"
)

//go:embed assets
var assetFiles embed.FS

// asset is a file that pages load. Its address has its hash, so that it can be kept for ever.
type asset struct {
	body    []byte
	kind    string
	version string
}

// loadAssets reads the files, by the paths that they are served at.
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
		assets["/assets/"+e.Name()] = asset{body, mime.TypeByExtension(path.Ext(e.Name())), base64.RawURLEncoding.EncodeToString(sum[:6])}
	}
	assets["/favicon.ico"] = assets["/assets/icon.svg"] // browsers ask for it where a page doesn't name one, as JSON doesn't
	return assets
}

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	protect(h)
	h.Set("Content-Type", a.kind)
	h.Set("ETag", `"`+a.version+`"`)
	if r.URL.Query().Get("v") == a.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable") // a year, which is what caches take for ever
	} else {
		h.Set("Cache-Control", "public, max-age=300")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}
