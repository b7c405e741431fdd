// SPDX-License-Identifier: Apache-2.0

// A second implementation of what a node and its Nucleus say to each other, written from
// docs/SIGNALING.md on quic-go and Go's TLS, with no line of the product's: it registers with a real
// omni-nucleus, and poses as one for a real omni-controller.
//
//	omni-interop node ADDRESS SECRET NAME       registers, prints what it learns as JSON, one line an event
//	omni-interop nucleus ADDRESS CLUSTER_KEY    takes nodes, checks their proofs and records, prints JSON
//	omni-interop stun ADDRESS                   where that STUN server sees us
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "omni-interop:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 4 && arguments[0] == "node" {
		return runNode(arguments[1], arguments[2], arguments[3])
	}
	if len(arguments) == 3 && arguments[0] == "nucleus" {
		return runNucleus(arguments[1], arguments[2])
	}
	if len(arguments) == 2 && arguments[0] == "stun" {
		return runStun(arguments[1])
	}
	return fmt.Errorf("node ADDRESS SECRET NAME, nucleus ADDRESS CLUSTER_KEY, or stun ADDRESS")
}
