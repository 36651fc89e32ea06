// Package migrations holds the schema of weft.db, and nothing else does. Files are applied in the order of their
// numbers, each in one transaction; a file that has been released is never changed again.
package migrations

import "embed"

// FS holds the migrations, in goose's form.
//
//go:embed *.sql
var FS embed.FS
