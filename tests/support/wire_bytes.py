"""Messages byte by byte, as no library would write them."""


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def field(number, data):
    """A length-delimited field: a string, bytes or a message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def raw_call(channel, method, data, *, streaming=False, **options):
    """Call a method with bytes in the place of its message; gives the status code, OK where there is an answer."""
    import grpc

    options = {"timeout": 60} | options
    try:
        if streaming:
            stream = channel.stream_stream(f"/{method}")(iter(data if isinstance(data, list) else [data]), **options)
            for _ in stream:
                pass
        else:
            channel.unary_unary(f"/{method}")(data, **options)
    except grpc.RpcError as error:
        return error
    return None
