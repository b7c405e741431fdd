// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/quic-go/quic-go"
)

const patience = 10 * time.Second

// One line of JSON for each thing that happens.
func tell(what string, about map[string]any) {
	if about == nil {
		about = map[string]any{}
	}
	about["event"] = what
	line, _ := json.Marshal(about)
	fmt.Fprintln(os.Stdout, string(line))
}

func exported(connection *quic.Conn) ([]byte, error) {
	state := connection.ConnectionState().TLS
	return state.ExportKeyingMaterial(exporterLabel, nil, 32)
}

type node struct {
	connection *quic.Conn
	stream     *quic.Stream
	id         *identity
	cluster    ed25519.PublicKey
	membership ed25519.PrivateKey
	name       string
	at         netip.AddrPort
}

// Registers, moves to another port by QUIC's own migration, says so in an update, and waits for
// what the Nucleus has to tell until standard input ends.
func runNode(address, secret, name string) error {
	id, err := newIdentity()
	if err != nil {
		return err
	}
	private := membership(secret)
	n := &node{id: id, cluster: private.Public().(ed25519.PublicKey), membership: private, name: name}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.connect(ctx, address); err != nil {
		return err
	}
	defer n.connection.CloseWithError(0, "done")
	if err := n.register(); err != nil {
		return err
	}
	go n.listen()
	if err := n.migrate(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	var nothing [1]byte
	_, _ = os.Stdin.Read(nothing[:])
	return nil
}

func transport(remote netip.AddrPort) (*quic.Transport, netip.AddrPort, error) {
	probe, err := net.Dial("udp", remote.String())
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	local := probe.LocalAddr().(*net.UDPAddr)
	probe.Close()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.IP})
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	at := socket.LocalAddr().(*net.UDPAddr).AddrPort()
	return &quic.Transport{Conn: socket}, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}

func (n *node) connect(ctx context.Context, address string) error {
	remote, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	config, err := n.id.tlsConfig()
	if err != nil {
		return err
	}
	way, at, err := transport(remote)
	if err != nil {
		return err
	}
	n.at = at
	n.connection, err = way.Dial(ctx, net.UDPAddrFromAddrPort(remote), config, &quic.Config{})
	if err != nil {
		return err
	}
	state := n.connection.ConnectionState()
	tell("connected", map[string]any{"version": state.Version.String(),
		"protocol": state.TLS.NegotiatedProtocol, "node_id": fmt.Sprintf("%x", nodeID(peerOf(n.connection)))})
	n.stream, err = n.connection.OpenStreamSync(ctx)
	return err
}

func (n *node) register() error {
	_ = n.stream.SetReadDeadline(time.Now().Add(patience))
	if err := writeMessage(n.stream, field(nil, 1, field(nil, 1, clusterID(n.cluster)))); err != nil {
		return err
	}
	message, err := n.read()
	if err != nil {
		return err
	}
	key, err := exported(n.connection)
	if err != nil {
		return err
	}
	challenge, err := parse(message.bytes(1))
	if err != nil || !bytes.Equal(challenge.bytes(1), hash(32, n.cluster, []byte(nucleusLabel), key)) {
		return errors.New("the Nucleus does not prove that it has the cluster key")
	}
	tell("challenge", nil)
	text := append(append([]byte(membershipLabel), key...), nodeID(n.id.public())...)
	register := field(nil, 1, ed25519.Sign(n.membership, text))
	register = field(register, 2, n.record())
	if err := writeMessage(n.stream, field(nil, 2, register)); err != nil {
		return err
	}
	if message, err = n.read(); err != nil {
		return err
	}
	if len(message[2]) == 0 {
		return fmt.Errorf("not accepted: %v", message)
	}
	tell("accepted", nil)
	return n.stream.SetReadDeadline(time.Time{})
}

func (n *node) record() []byte {
	return signedRecord(n.id, n.cluster, n.name, netip.MustParseAddr("10.77.0.200"), n.at)
}

func (n *node) read() (fields, error) {
	message, err := readMessage(n.stream)
	if err != nil {
		return nil, err
	}
	return parse(message)
}

// RFC 9000 section 9: another socket, a validated path, then all packets over it.
func (n *node) migrate(ctx context.Context) error {
	remote, err := netip.ParseAddrPort(n.connection.RemoteAddr().String())
	if err != nil {
		return err
	}
	way, at, err := transport(remote)
	if err != nil {
		return err
	}
	path, err := n.connection.AddPath(way)
	if err != nil {
		return err
	}
	if err := path.Probe(ctx); err != nil {
		return err
	}
	if err := path.Switch(); err != nil {
		return err
	}
	n.at = at
	tell("migrated", map[string]any{"to": at.String()})
	return writeMessage(n.stream, field(nil, 3, field(nil, 1, n.record())))
}

func (n *node) listen() {
	for {
		message, err := n.read()
		if err != nil {
			tell("ended", map[string]any{"why": err.Error()})
			os.Exit(1)
		}
		n.tellMessage(message)
	}
}

func (n *node) tellMessage(message fields) {
	if len(message[2]) > 0 {
		tell("update accepted", nil)
	}
	if refused := message.bytes(3); refused != nil {
		tell("refused", map[string]any{"message": fmt.Sprintf("%x", refused)})
	}
	if observed, err := parse(message.bytes(5)); err == nil && len(message[5]) > 0 {
		if address, ok := netip.AddrFromSlice(observed.bytes(1)); ok {
			at := netip.AddrPortFrom(address, uint16(observed.number(2)))
			tell("observed", map[string]any{"at": at.String()})
		}
	}
	delta, err := parse(message.bytes(4))
	if err != nil {
		return
	}
	for _, one := range delta[4] {
		record, err := openRecord(one.bytes, n.cluster)
		if err != nil {
			record = map[string]any{"error": err.Error()}
		}
		tell("record", record)
	}
}
