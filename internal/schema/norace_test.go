//go:build !race

package schema_test

const manyProperties = 8000
