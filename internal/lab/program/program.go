// Package program holds the program that the laboratory's containers run: one that does nothing until it is asked to end.
package program

import (
	"bytes"
	"encoding/binary"
)

// base is where the program is loaded.
const base = 0x400000

// header is an ELF file's header and its one program header (elf(5)).
type header struct {
	Ident                              [16]byte
	Type, Machine                      uint16
	Version                            uint32
	Entry, Segments, Sections          uint64
	Flags                              uint32
	Size, SegmentSize, SegmentCount    uint16
	SectionSize, SectionCount, Strings uint16

	Kind, Access              uint32
	Offset, Virtual, Physical uint64
	FileSize, MemorySize      uint64
	Align                     uint64
}

// Wait returns an executable for Linux on amd64 that needs no library and no other file, so that it is a whole container. It waits for
// SIGTERM or SIGINT and then exits with 0. It blocks the signals before: the first process of a container would not get them else.
func Wait() []byte {
	code := []byte{
		0xb8, 14, 0, 0, 0, //                   mov eax, rt_sigprocmask
		0x31, 0xff, //                          xor edi, edi             ; SIG_BLOCK
		0x48, 0x8d, 0x35, 47, 0, 0, 0, //       lea rsi, [rip+set]
		0x31, 0xd2, //                          xor edx, edx
		0x41, 0xba, 8, 0, 0, 0, //              mov r10d, 8              ; bytes of the set
		0x0f, 0x05, //                          syscall
		0xb8, 128, 0, 0, 0, //            wait: mov eax, rt_sigtimedwait
		0x48, 0x8d, 0x3d, 25, 0, 0, 0, //       lea rdi, [rip+set]
		0x31, 0xf6, //                          xor esi, esi
		0x31, 0xd2, //                          xor edx, edx             ; for ever
		0x41, 0xba, 8, 0, 0, 0, //              mov r10d, 8
		0x0f, 0x05, //                          syscall
		0x85, 0xc0, //                          test eax, eax
		0x78, 0xe4, //                          js wait                  ; another signal came between
		0xb8, 60, 0, 0, 0, //                   mov eax, exit
		0x31, 0xff, //                          xor edi, edi
		0x0f, 0x05, //                          syscall
		0x02, 0x40, 0, 0, 0, 0, 0, 0, //   set: SIGINT is the second bit, SIGTERM the fifteenth
	}
	h := header{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, // 64 bits, little end first
		Type:  2, Machine: 62, Version: 1,             // an executable for amd64
		Segments: 64, Size: 64, SegmentSize: 56, SegmentCount: 1,
		Kind: 1, Access: 5, Virtual: base, Physical: base, Align: 0x1000, // to be loaded, read and executed
	}
	size := binary.Size(h)
	h.Entry = base + uint64(size)
	h.FileSize = uint64(size + len(code))
	h.MemorySize = h.FileSize
	var out bytes.Buffer
	_ = binary.Write(&out, binary.LittleEndian, h) // a struct of numbers into memory
	out.Write(code)
	return out.Bytes()
}
