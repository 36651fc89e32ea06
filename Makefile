# Every target is one command that a person would type. `make help` lists them.
.DEFAULT_GOAL := help

FUZZTIME ?= 30s
SOAK ?= 200

.PHONY: help build test lint race stock bench fuzz soak docs ci release

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build a static binary, bin/weft
	CGO_ENABLED=0 go build -trimpath -o bin/weft ./cmd/weft

test: ## Run all tests; needs Go alone
	go test ./...

lint: ## Check format, vet and staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "not formatted: gofmt -w"; exit 1; }
	go vet ./...
	go tool -modfile=tools/go.mod staticcheck ./...

race: ## Run the short tests under the race detector; needs a C compiler
	.ci/race -p 1 -timeout 40m ./...

stock: ## Run the tests with the programs of others: Jetstream's server and client, stock Litestream
	go test -count=1 -tags officialclient ./ingest/sim ./ingest/upstream -run 'Client|FilteredReplay|CorruptBlock'
	go test -count=1 -tags officialclient ./e2e -stock -run 'TestReal|TestSidecar'
	go test -count=1 ./db/replica -stock -run 'TestRestoreStock|TestKill$$'

bench: ## Measure a million links: bytes written and stored, events a second, latency
	go run ./bench/storage --links 1000000 --pace 10s
	go run ./bench/http

fuzz: ## Run each fuzz target for FUZZTIME (30s)
	@go list ./... | while read -r pkg; do \
	  go test "$$pkg" -list '^Fuzz' | grep '^Fuzz' | while read -r target; do \
	    echo "$$pkg $$target"; go test "$$pkg" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) || exit 1; \
	  done || exit 1; \
	done

soak: ## Run SOAK (200) more seeds, 67 kills of each kind of replica and ten minutes of chaos: hours
	go test ./db -run 'Equal|Kill|Crash|Torn|Histories|Together|Flapping' -soak $(SOAK) -timeout 6h
	go test ./db/replica -stock -run 'TestKill$$' -rounds 67 -timeout 6h
	go test ./e2e -run '^TestChaos$$' -chaos 10m -timeout 1h

docs: ## Write the generated documents: flags, completion, metrics, API reference
	go test ./cmd/weft -run 'TestDocuments|TestCompletion' -update
	go test ./api -run TestReference -update

ci: ## Run what the workflow runs
	.ci/run

release: ## Build the release archives and their checksums into dist/
	.ci/release dist
