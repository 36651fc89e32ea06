// Package sqliteuri makes the URIs by which SQLite opens the file of a database.
package sqliteuri

import (
	"fmt"
	"net/url"
	"path/filepath"
)

// File returns a path as a URI for SQLite, to which parameters are appended: a ? or a % in the path is escaped.
func File(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("db: find %s: %w", path, err)
	}
	return "file://" + (&url.URL{Path: filepath.ToSlash(abs)}).EscapedPath(), nil
}

// ReadOnly returns the URI that opens a database for reading only; parameters may be appended.
func ReadOnly(uri string) string {
	return uri + "?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(5000)"
}
