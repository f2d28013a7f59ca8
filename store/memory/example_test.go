package memory_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

func Example() {
	st := memory.New()
	ctx := store.WithAuthor(context.Background(), "ann")
	for _, model := range []string{"gpt-4o", "gpt-5"} {
		if _, err := st.Put(ctx, "llm_openai", json.RawMessage(`{"model":"`+model+`"}`), store.Any); err != nil {
			log.Fatal(err)
		}
	}
	versions, err := st.History(ctx, "llm_openai", 0)
	if err != nil {
		log.Fatal(err)
	}
	for _, v := range versions {
		fmt.Println(string(v.Config), "by", v.Author)
	}
	// Output:
	// {"model":"gpt-5"} by ann
	// {"model":"gpt-4o"} by ann
}
