//go:build race

package schema_test

// The race detector makes the largest schema take half a minute.
const manyProperties = 3_000
