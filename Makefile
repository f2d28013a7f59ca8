.PHONY: all test race lint fuzz bench ci

all: lint test

test: ## the tests, as a user runs them
	go test ./...

race: ## the tests under the race detector
	go test -race ./...

lint: ## gofmt, vet and staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

fuzz: ## every fuzz target, a hundred thousand times
	.ci/fuzz 100000x

bench: ## measure beside the baselines and the peers, and write the table of docs/benchmarks.md
	cd internal/bench && go run ./table

ci: ## all that is checked before a change is taken
	.ci/run
