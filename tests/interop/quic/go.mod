// SPDX-License-Identifier: Apache-2.0

module omninervous.org/interop

go 1.26.8

require (
	github.com/pion/stun/v3 v3.1.7
	github.com/quic-go/quic-go v0.65.0
	golang.org/x/crypto v0.59.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/pion/dtls/v3 v3.1.5 // indirect
	github.com/pion/logging v0.2.4 // indirect
	github.com/pion/transport/v4 v4.1.0 // indirect
	github.com/wlynxg/anet v0.0.5 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
)
