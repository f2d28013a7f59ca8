package postgres_test

import (
	"context"
	"fmt"
	"os"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/postgres"
)

// A store has its tables in a schema of its own. The DSN is in the environment here; without one the example does nothing.
func Example() {
	ctx := context.Background()
	dsn := os.Getenv("DATABASE_URL")
	if dsn == "" {
		return
	}
	st, err := postgres.Open(ctx, dsn, postgres.WithSchema("plugins"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer st.Close()
	rec, err := st.Put(ctx, "llm_gpt", []byte(`{"model": "gpt-4o"}`), store.Any)
	fmt.Println(string(rec.Config), err)
}
