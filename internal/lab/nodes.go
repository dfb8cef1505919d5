package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tkgfix/tkgfix/internal/lab/real"
	"github.com/tkgfix/tkgfix/internal/lab/service"
)

// The kinds of nodes.
const (
	// ImitatedNodes need nothing but the laboratory's program, on any Linux and for any user.
	ImitatedNodes = "imitated"
	// RealNodes run containerd, kubelet and sshd. They need root and what package real says.
	RealNodes = "real"
)

// NodeKinds returns the kinds of nodes.
func NodeKinds() []string { return []string{ImitatedNodes, RealNodes} }

// CheckNodes says why a laboratory cannot have nodes of the kind on this machine.
func CheckNodes(kind string) error {
	if !slices.Contains(NodeKinds(), kind) {
		return fmt.Errorf("no kind of nodes %q, there are: %s", kind, strings.Join(NodeKinds(), ", "))
	}
	if kind == RealNodes {
		return real.Check()
	}
	return nil
}

// On says why the scenario cannot be planted with nodes of the kind and clusters of the generation; nil if it can.
func (s Scenario) On(nodes, generation string) error {
	if err := s.inGeneration(service.Generation(generation)); err != nil {
		return err
	}
	if nodes != RealNodes {
		return nil
	}
	err := real.Supported(s.nodes)
	switch {
	case s.image == routedImage():
		err = errors.New("the network of real nodes delivers each address to itself")
	case s.notReal != "":
		err = errors.New(s.notReal)
	}
	if err != nil {
		return fmt.Errorf("scenario %s cannot be planted on real nodes: %w", s.Name, err)
	}
	return nil
}

// findScenarioOn is findScenario for nodes of a kind and clusters of a generation.
func findScenarioOn(name, nodes string, generation service.Generation) (Scenario, error) {
	s, err := findScenario(name)
	if err != nil {
		return s, err
	}
	return s, s.On(nodes, string(generation))
}
