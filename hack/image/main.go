// Command image makes the container image of tkgfix out of its executables, without a container engine: from scratch, and the same
// bytes each time from the same executables.
//
//	image -name NAME -out FILE.tar [-push] PLATFORM=EXECUTABLE...
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	image := flags.String("name", "", "the image's `NAME`, with a tag")
	out := flags.String("out", "", "the archive, a `FILE` that containerd, Docker and registries' tools take")
	revision := flags.String("revision", "", "the `COMMIT` that the executables were built from")
	version := flags.String("version", "", "the `VERSION` that they are")
	push := flags.Bool("push", false, "push the image to the registry in its name, with the credentials of ~/.docker/config.json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 || *out == "" {
		return errors.New("give -out and PLATFORM=EXECUTABLE, as in linux/amd64=bin/tkgfix")
	}
	ref, err := name.NewTag(*image, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("read -name: %w", err)
	}
	index, err := indexOf(flags.Args(), labels(*version, *revision))
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return fmt.Errorf("make the image: %w", err)
	}
	if err := archive(*out, ref.Name(), index); err != nil {
		return fmt.Errorf("write %s: %w", *out, err)
	}
	if *push {
		if err := remote.WriteIndex(ref, index, remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return fmt.Errorf("push %s: %w", ref.Name(), err)
		}
	}
	fmt.Printf("%s@%s\n", ref.Name(), digest)
	return nil
}

// indexOf returns an image for each executable, by platform.
func indexOf(executables []string, labels map[string]string) (v1.ImageIndex, error) {
	var adds []mutate.IndexAddendum
	for _, arg := range executables {
		words, path, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not PLATFORM=EXECUTABLE", arg)
		}
		platform, err := v1.ParsePlatform(words)
		if err != nil {
			return nil, fmt.Errorf("read the platform %q: %w", words, err)
		}
		img, err := imageOf(*platform, path, labels)
		if err != nil {
			return nil, fmt.Errorf("make the image for %s: %w", words, err)
		}
		adds = append(adds, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	return mutate.AppendManifests(empty.Index, adds...), nil
}

func labels(version, revision string) map[string]string {
	out := map[string]string{
		"org.opencontainers.image.title":       "tkgfix",
		"org.opencontainers.image.description": "Makes TKG clusters trust a private registry's CA",
		"org.opencontainers.image.source":      "https://github.com/tkgfix/tkgfix",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	if version != "" {
		out["org.opencontainers.image.version"] = version
	}
	if revision != "" {
		out["org.opencontainers.image.revision"] = revision
	}
	return out
}
