// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"
)

// The labels of docs/PROTOCOL.md and signal.proto.
const (
	secretLabel     = "omninervous cluster secret v1"
	clusterLabel    = "omninervous cluster id v1"
	nodeLabel       = "omninervous node id v1"
	staticLabel     = "omninervous static key v1"
	recordLabel     = "omninervous node record v1"
	nucleusLabel    = "omninervous nucleus proof v1"
	membershipLabel = "omninervous membership proof v1"
	exporterLabel   = "omninervous signal v1"
	protocol        = "omni-signal/1"
)

func hash(size int, key []byte, parts ...[]byte) []byte {
	state, err := blake2b.New(size, key)
	if err != nil {
		panic(err) // a size or key that BLAKE2b does not have
	}
	for _, part := range parts {
		state.Write(part)
	}
	return state.Sum(nil)
}

func nodeID(identity ed25519.PublicKey) []byte {
	return hash(32, nil, []byte(nodeLabel), identity)[:16]
}

func clusterID(key ed25519.PublicKey) []byte {
	return hash(32, nil, []byte(clusterLabel), key)[:16]
}

// The membership key pair of a cluster secret.
func membership(secret string) ed25519.PrivateKey {
	salt := hash(16, nil, []byte(secretLabel))
	root := argon2.IDKey([]byte(secret), salt, 3, 64<<10, 1, 32)
	return ed25519.NewKeyFromSeed(hash(32, root, []byte("membership")))
}

func parseClusterKey(text string) (ed25519.PublicKey, error) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(text, "omnic1"))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, errors.New("no cluster key")
	}
	return raw, nil
}

// A machine's identity: its Ed25519 key, and the 128 bytes that records carry.
type identity struct {
	private ed25519.PrivateKey
	key     []byte
}

func newIdentity() (*identity, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	static, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	staticPublic := static.PublicKey().Bytes()
	signature := ed25519.Sign(private, append([]byte(staticLabel), staticPublic...))
	key := append(append(append([]byte{}, public...), staticPublic...), signature...)
	return &identity{private: private, key: key}, nil
}

func (i *identity) public() ed25519.PublicKey { return i.private.Public().(ed25519.PublicKey) }

// Both sides show a self-signed certificate; what counts is the key in it.
func (i *identity) tlsConfig() (*tls.Config, error) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0),
		NotAfter: time.Now().AddDate(10, 0, 0)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, i.public(), i.private)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates:           []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: i.private}},
		NextProtos:             []string{protocol},
		MinVersion:             tls.VersionTLS13,
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // names and dates mean nothing: the key is looked at below
		SessionTicketsDisabled: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 {
				return errors.New("the peer shows no certificate")
			}
			parsed, err := x509.ParseCertificate(raw[0])
			if err != nil {
				return err
			}
			if _, ok := parsed.PublicKey.(ed25519.PublicKey); !ok {
				return errors.New("the peer's certificate holds no Ed25519 key")
			}
			return nil
		},
	}, nil
}

// The identity key that the other side has proved to hold.
func peerOf(connection *quic.Conn) ed25519.PublicKey {
	return connection.ConnectionState().TLS.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
}
