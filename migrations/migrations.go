// Package migrations has the whole schema of weft.db. Files are applied in the order of their numbers, each in one
// transaction. A released file never changes.
package migrations

import "embed"

// FS has the migrations in goose's format.
//
//go:embed *.sql
var FS embed.FS
