// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"time"
)

// A NodeRecord, signed.
func signedRecord(id *identity, cluster ed25519.PublicKey, name string, vip netip.Addr,
	at netip.AddrPort) []byte {
	candidate := numberField(nil, 1, 1) // KIND_HOST
	candidate = field(candidate, 2, at.Addr().AsSlice())
	candidate = numberField(candidate, 3, uint64(at.Port()))
	record := field(nil, 1, clusterID(cluster))
	record = field(record, 2, id.key)
	record = numberField(record, 3, uint64(time.Now().UnixNano()))
	record = field(record, 4, []byte(name))
	record = field(record, 5, vip.AsSlice())
	record = field(record, 7, candidate)
	signature := ed25519.Sign(id.private, append([]byte(recordLabel), record...))
	return field(field(nil, 1, record), 2, signature)
}

// What a SignedRecord says, when its node has signed it.
func openRecord(signed []byte, cluster ed25519.PublicKey) (map[string]any, error) {
	outer, err := parse(signed)
	if err != nil {
		return nil, err
	}
	record, err := parse(outer.bytes(1))
	if err != nil {
		return nil, err
	}
	key := record.bytes(2)
	if len(key) != 128 {
		return nil, errors.New("a record without a key")
	}
	identity := ed25519.PublicKey(key[:32])
	if !ed25519.Verify(identity, append([]byte(recordLabel), outer.bytes(1)...), outer.bytes(2)) {
		return nil, errors.New("a record that its node did not sign")
	}
	if !ed25519.Verify(identity, append([]byte(staticLabel), key[32:64]...), key[64:]) {
		return nil, errors.New("a static key that its node did not sign")
	}
	if !bytes.Equal(record.bytes(1), clusterID(cluster)) {
		return nil, errors.New("a record of another cluster")
	}
	addresses := []string{}
	for _, one := range record[5] {
		if address, ok := netip.AddrFromSlice(one.bytes); ok {
			addresses = append(addresses, address.String())
		}
	}
	candidates := []string{}
	for _, one := range record[7] {
		candidate, err := parse(one.bytes)
		if err != nil {
			return nil, err
		}
		if address, ok := netip.AddrFromSlice(candidate.bytes(2)); ok {
			candidates = append(candidates,
				netip.AddrPortFrom(address, uint16(candidate.number(3))).String())
		}
	}
	return map[string]any{"name": string(record.bytes(4)), "sequence": record.number(3),
		"addresses": addresses, "candidates": candidates}, nil
}
