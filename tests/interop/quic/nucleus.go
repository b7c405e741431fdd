// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"

	"github.com/quic-go/quic-go"
)

// Poses as the cluster's Nucleus, and tells what they say.
func runNucleus(address, clusterKey string) error {
	cluster, err := parseClusterKey(clusterKey)
	if err != nil {
		return err
	}
	id, err := newIdentity()
	if err != nil {
		return err
	}
	config, err := id.tlsConfig()
	if err != nil {
		return err
	}
	listener, err := quic.ListenAddr(address, config, &quic.Config{})
	if err != nil {
		return err
	}
	tell("ready", map[string]any{"node_id": fmt.Sprintf("%x", nodeID(id.public()))})
	for {
		connection, err := listener.Accept(context.Background())
		if err != nil {
			return err
		}
		go func() {
			if err := serve(connection, cluster, peerOf(connection)); err != nil {
				tell("ended", map[string]any{"why": err.Error()})
			}
		}()
	}
}

func serve(connection *quic.Conn, cluster, peer ed25519.PublicKey) error {
	tell("connected", map[string]any{"protocol": connection.ConnectionState().TLS.NegotiatedProtocol,
		"node_id": fmt.Sprintf("%x", nodeID(peer))})
	stream, err := connection.AcceptStream(context.Background())
	if err != nil {
		return err
	}
	key, err := exported(connection)
	if err != nil {
		return err
	}
	for {
		raw, err := readMessage(stream)
		if err != nil {
			return err
		}
		message, err := parse(raw)
		if err != nil {
			return err
		}
		answers, err := answer(message, cluster, peer, key, connection)
		if err != nil {
			return err
		}
		for _, one := range answers {
			if err := writeMessage(stream, one); err != nil {
				return err
			}
		}
	}
}

func answer(message fields, cluster, peer ed25519.PublicKey, key []byte,
	connection *quic.Conn) ([][]byte, error) {
	if hello := message.bytes(1); hello != nil {
		proof := hash(32, cluster, []byte(nucleusLabel), key)
		return [][]byte{field(nil, 1, field(nil, 1, proof))}, nil
	}
	if update, err := parse(message.bytes(3)); err == nil && len(message[3]) > 0 {
		return accept("update", update.bytes(1), cluster, connection)
	}
	register, err := parse(message.bytes(2))
	if err != nil || len(message[2]) == 0 {
		return nil, err // what this one does not know
	}
	text := append(append([]byte(membershipLabel), key...), nodeID(peer)...)
	if !ed25519.Verify(cluster, text, register.bytes(1)) {
		return nil, errors.New("the node does not prove that it is a member")
	}
	answers, err := accept("registered", register.bytes(2), cluster, connection)
	if err != nil {
		return nil, err
	}
	delta := numberField(numberField(nil, 1, 1), 2, 1) // registry, revision
	delta = numberField(numberField(delta, 3, 1), 6, 1)
	return append(answers, field(nil, 4, delta)), nil
}

func accept(what string, signed []byte, cluster ed25519.PublicKey,
	connection *quic.Conn) ([][]byte, error) {
	record, err := openRecord(signed, cluster)
	if err != nil {
		return nil, err
	}
	record["from"] = connection.RemoteAddr().String()
	sequence := record["sequence"].(uint64)
	tell(what, record)
	at, err := netip.ParseAddrPort(connection.RemoteAddr().String())
	if err != nil {
		return nil, err
	}
	observed := numberField(field(nil, 1, at.Addr().Unmap().AsSlice()), 2, uint64(at.Port()))
	return [][]byte{field(nil, 2, numberField(nil, 1, sequence)), field(nil, 5, observed)}, nil
}
