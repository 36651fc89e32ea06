// Package ts embeds the TypeScript client as JavaScript, which weft serves to pages. npm run build writes it.
package ts

import _ "embed"

// JavaScript is the client as an ES module.
//
//go:embed client.js
var JavaScript []byte

// Types is its TypeScript declarations.
//
//go:embed client.d.ts
var Types []byte
