package secret_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/pluginregistry/pluginregistry/registry/secret"
)

func Example() {
	dir, err := os.MkdirTemp("", "secret")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	keys, err := secret.OpenFile(filepath.Join(dir, "secret.keys")) // made on first use
	if err != nil {
		log.Fatal(err)
	}
	ciphertext, err := keys.Encrypt([]byte("hunter2"), []byte("llm_openai/password"))
	if err != nil {
		log.Fatal(err)
	}
	plaintext, err := keys.Decrypt(ciphertext, []byte("llm_openai/password"))
	fmt.Printf("%s %v\n", plaintext, err)

	_, err = keys.Decrypt(ciphertext, []byte("llm_other/password"))
	fmt.Println(errors.Is(err, secret.ErrDecrypt))
	// Output:
	// hunter2 <nil>
	// true
}

// A new key goes first; the old one stays until everything is encrypted anew.
func ExampleFromEnv() {
	oldKey, newKey := secret.GenerateKey(), secret.GenerateKey()
	defer os.Unsetenv("MYAPP_SECRET_KEYS")

	os.Setenv("MYAPP_SECRET_KEYS", oldKey)
	keys, err := secret.FromEnv("MYAPP_SECRET_KEYS")
	if err != nil {
		log.Fatal(err)
	}
	ciphertext, err := keys.Encrypt([]byte("hunter2"), nil)
	if err != nil {
		log.Fatal(err)
	}

	os.Setenv("MYAPP_SECRET_KEYS", newKey+", "+oldKey)
	if keys, err = secret.FromEnv("MYAPP_SECRET_KEYS"); err != nil {
		log.Fatal(err)
	}
	plaintext, err := keys.Decrypt(ciphertext, nil)
	fmt.Printf("with both: %s %v\n", plaintext, err)

	os.Setenv("MYAPP_SECRET_KEYS", newKey)
	if keys, err = secret.FromEnv("MYAPP_SECRET_KEYS"); err != nil {
		log.Fatal(err)
	}
	_, err = keys.Decrypt(ciphertext, nil)
	fmt.Println("with the new one alone:", errors.Is(err, secret.ErrUnknownKey))
	// Output:
	// with both: hunter2 <nil>
	// with the new one alone: true
}
