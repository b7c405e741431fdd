// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

const maxMessage = 65536

// Four bytes of length, little endian, then the message.
func writeMessage(stream io.Writer, message []byte) error {
	frame := binary.LittleEndian.AppendUint32(nil, uint32(len(message)))
	_, err := stream.Write(append(frame, message...))
	return err
}

func readMessage(stream io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(stream, length[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(length[:])
	if size == 0 || size > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes", size)
	}
	message := make([]byte, size)
	_, err := io.ReadFull(stream, message)
	return message, err
}

// The fields of a protobuf message by number: those of signal.proto are numbers and bytes.
type fields map[protowire.Number][]value

type value struct {
	number uint64
	bytes  []byte
}

func parse(message []byte) (fields, error) {
	out := fields{}
	for len(message) > 0 {
		number, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		message = message[size:]
		var one value
		switch kind {
		case protowire.VarintType:
			one.number, size = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			one.bytes, size = protowire.ConsumeBytes(message)
		case protowire.Fixed64Type:
			one.number, size = protowire.ConsumeFixed64(message)
		default:
			return nil, fmt.Errorf("field %d is of a kind that the protocol does not have", number)
		}
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		message = message[size:]
		out[number] = append(out[number], one)
	}
	return out, nil
}

func (f fields) bytes(number protowire.Number) []byte {
	if len(f[number]) == 0 {
		return nil
	}
	return f[number][0].bytes
}

func (f fields) number(number protowire.Number) uint64 {
	if len(f[number]) == 0 {
		return 0
	}
	return f[number][0].number
}

func field(message []byte, number protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(message, number, protowire.BytesType), content)
}

func numberField(message []byte, number protowire.Number, content uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(message, number, protowire.VarintType), content)
}
