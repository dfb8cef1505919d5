package probe

import (
	"context"
	"crypto/rand"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// scouted is what a server answers to a client that would take anything up to TLS 1.2: old versions and ciphers, any key. Go's
// own client is turned away by such servers without a word on why.
type scouted struct {
	// alert is the number of the alert that came in place of an answer, -1 for none.
	alert int
	// version and cipher are what the server chose, 0 when it chose nothing.
	version, cipher uint16
	// certs are the certificates in DER, as they came.
	certs [][]byte
}

const (
	recordAlert     = 21
	recordHandshake = 22
	msgServerHello  = 2
	msgCertificate  = 11
	msgHelloDone    = 14
	// maxFlight bounds what is read of a server's first flight.
	maxFlight = 256 << 10
)

// scout asks a server what it would do with a client that takes anything. No connection is ever completed with it. It
// blocks until ctx ends.
func scout(ctx context.Context, conn net.Conn, serverName string) (scouted, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // one that a node dialled knows no deadlines
	defer stop()
	hello, err := clientHello(serverName)
	if err != nil {
		return scouted{alert: -1}, err
	}
	if _, err := conn.Write(hello); err != nil {
		return scouted{alert: -1}, err
	}
	return readFlight(conn)
}

// clientHello is a greeting in TLS 1.2 that offers whatever there was.
func clientHello(serverName string) ([]byte, error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	var ext []byte
	if _, err := netip.ParseAddr(serverName); err != nil && serverName != "" {
		name := block16(append([]byte{0}, block16([]byte(serverName))...))
		ext = append(ext, extension(0, name)...)
	}
	ext = append(ext, extension(10, block16(words(29, 23, 24, 25, 30, 22, 26, 27, 28, 256, 257, 258)))...)
	ext = append(ext, extension(11, []byte{1, 0})...)
	ext = append(ext, extension(13, block16(words(
		0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0809, 0x080a, 0x080b, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601,
		0x0303, 0x0301, 0x0302, 0x0402, 0x0502, 0x0602, 0x0203, 0x0201, 0x0202, 0x0101)))...)
	ext = append(ext, extension(0xff01, []byte{0})...)
	body := append([]byte{3, 3}, random...)
	body = append(body, 0)
	body = append(body, block16(words(
		0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc023, 0xc027, 0xc024, 0xc028, 0xc009, 0xc013, 0xc00a, 0xc014, 0xc008, 0xc012, 0xc007, 0xc011,
		0x009e, 0x009f, 0xccaa, 0x0067, 0x006b, 0x0033, 0x0039, 0x0016, 0x0045, 0x0088, 0x00a2, 0x00a3, 0x0040, 0x006a, 0x0032, 0x0038, 0x0013,
		0x009c, 0x009d, 0x003c, 0x003d, 0x002f, 0x0035, 0x0041, 0x0084, 0x000a, 0x0005, 0x0004, 0xc09c, 0xc09d, 0xc0ac, 0xc0ad, 0x00ff))...)
	body = append(body, 1, 0)
	body = append(body, block16(ext)...)
	message := append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	return append([]byte{recordHandshake, 3, 1, byte(len(message) >> 8), byte(len(message))}, message...), nil
}

func words(list ...uint16) []byte {
	var out []byte
	for _, w := range list {
		out = binary.BigEndian.AppendUint16(out, w)
	}
	return out
}

func block16(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func extension(kind uint16, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, kind), block16(data)...)
}

// readFlight reads records until the server has said all, or an alert.
func readFlight(r io.Reader) (scouted, error) {
	out := scouted{alert: -1}
	var flight []byte
	for total := 0; total < maxFlight; {
		head := make([]byte, 5)
		if _, err := io.ReadFull(r, head); err != nil {
			return out, err
		}
		size := int(binary.BigEndian.Uint16(head[3:]))
		if size > 1<<14+2048 {
			return out, errors.New("no TLS record")
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			return out, err
		}
		total += size + 5
		switch head[0] {
		case recordAlert:
			if size != 2 {
				return out, errors.New("no TLS alert")
			}
			if body[0] == 2 {
				out.alert = int(body[1])
				return out, nil
			}
		case recordHandshake:
			var done bool
			if flight, done = out.messages(append(flight, body...)); done {
				return out, nil
			}
		default:
			return out, fmt.Errorf("a TLS record of type %d", head[0])
		}
	}
	return out, errors.New("the server's answer is too long")
}

// messages takes the whole messages off a flight and returns the rest; done says that the server has no more to say.
func (s *scouted) messages(b []byte) (rest []byte, done bool) {
	for len(b) >= 4 {
		size := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		if len(b) < 4+size {
			break
		}
		body := b[4 : 4+size]
		switch b[0] {
		case msgServerHello:
			s.hello(body)
		case msgCertificate:
			s.certificates(body)
		case msgHelloDone:
			return nil, true
		}
		b = b[4+size:]
	}
	return b, false
}

func (s *scouted) hello(b []byte) {
	if len(b) < 35 || len(b) < 35+int(b[34])+2 {
		return
	}
	s.version = binary.BigEndian.Uint16(b)
	s.cipher = binary.BigEndian.Uint16(b[35+int(b[34]):])
}

func (s *scouted) certificates(b []byte) {
	if len(b) < 3 {
		return
	}
	for b = b[3:]; len(b) >= 3; {
		size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		if len(b) < 3+size {
			return
		}
		s.certs = append(s.certs, b[3:3+size])
		b = b[3+size:]
	}
}

// keyKinds are the object ids of the kinds of key, and whether Go's TLS client takes them.
func keyKind(der []byte) (name string, usable bool) {
	oid := keyOID(der)
	switch {
	case oid.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}):
		return "RSA", true
	case oid.Equal(asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}):
		return "ECDSA", true
	case oid.Equal(asn1.ObjectIdentifier{1, 3, 101, 112}):
		return "Ed25519", true
	case oid.Equal(asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}):
		return "DSA", false
	case oid.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}):
		return "id-RSASSA-PSS", false
	case oid.Equal(asn1.ObjectIdentifier{1, 3, 101, 113}):
		return "Ed448", false
	case oid == nil:
		return "", true
	}
	return "of kind " + oid.String(), false
}

// keyOID reads the kind of key out of a certificate that x509 may refuse; nil when it is not there.
func keyOID(der []byte) asn1.ObjectIdentifier {
	var cert struct {
		TBS struct {
			Version   int `asn1:"optional,explicit,default:0,tag:0"`
			Serial    asn1.RawValue
			Algorithm asn1.RawValue
			Issuer    asn1.RawValue
			Validity  asn1.RawValue
			Subject   asn1.RawValue
			PublicKey struct {
				Algorithm struct {
					OID        asn1.ObjectIdentifier
					Parameters asn1.RawValue `asn1:"optional"`
				}
				Key asn1.BitString
			}
		}
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &cert); err != nil {
		return nil
	}
	return cert.TBS.PublicKey.Algorithm.OID
}
