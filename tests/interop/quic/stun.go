// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net"

	"github.com/pion/stun/v3"
)

// Where the STUN server at this address sees us, as another project's STUN library reads it.
func runStun(address string) error {
	socket, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	client, err := stun.NewClient(socket)
	if err != nil {
		return err
	}
	defer client.Close()
	request := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
	var problem error
	err = client.Do(request, func(event stun.Event) {
		if problem = event.Error; problem != nil {
			return
		}
		var mapped stun.XORMappedAddress
		if problem = mapped.GetFrom(event.Message); problem != nil {
			return
		}
		if event.Message.Contains(stun.AttrFingerprint) {
			problem = stun.Fingerprint.Check(event.Message)
		}
		tell("mapped", map[string]any{"at": mapped.String(), "local": socket.LocalAddr().String(),
			"request_bytes": len(request.Raw), "response_bytes": len(event.Message.Raw)})
	})
	return errors.Join(err, problem)
}
