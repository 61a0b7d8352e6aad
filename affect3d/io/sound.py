"""The sound of one film carried over into another that is being written."""

from __future__ import annotations

from pathlib import Path

__all__ = ["Sound"]

#: What players expect in an mp4 is copied as it is; all else is encoded anew.
_COPIED = "aac"
#: Sound that begins earlier than this before the first frame (s) is left out; encoders begin a little early.
_EARLY = 0.1


class Sound:
    """The first sound of a film, packet by packet, along a film that is being written.

    Parameters
    ----------
    path : str or Path
        Of the film whose sound it is; times count from its first frame.
    container : av.container.OutputContainer
        That is written to; before its first packet.

    Attributes
    ----------
    found : bool
        Whether the film has a sound that can be carried over.
    trouble : str
        Why it ended early or cannot be carried over; empty if all is well.
    """

    def __init__(self, path, container):
        import av

        self.found, self.trouble = False, ""
        self._container, self._source, self._packets, self._waiting = container, None, iter(()), None
        try:
            self._source = av.open(str(Path(path)))
            streams = self._source.streams
            if not streams.audio:
                return
            sound, pictures = streams.audio[0], streams.video[0] if streams.video else None
            first = 0.0
            if pictures is not None and pictures.start_time is not None:
                first = float(pictures.start_time * pictures.time_base)
            if sound.codec_context.name == _COPIED:
                stream = container.add_stream_from_template(sound)
                self._packets = _copied(self._source, sound, stream, first)
            else:
                stream = container.add_stream("aac", rate=sound.codec_context.sample_rate)
                stream.codec_context.layout = "stereo" if sound.codec_context.channels > 1 else "mono"
                self._packets = _encoded(self._source, sound, stream, first)
            self.found = True
        except (av.error.FFmpegError, ValueError) as error:
            self.trouble = _reason(error)
            self.close()

    def until(self, seconds: float) -> None:
        """Write what sounds up to a time of the film that is written."""
        import av

        while self.found:
            try:
                entry = self._waiting or next(self._packets, None)
            except (av.error.FFmpegError, ValueError) as error:
                entry, self.trouble = None, _reason(error)
                self._packets = iter(())
            self._waiting = entry
            if entry is None or entry[0] >= seconds:
                return
            self._waiting = None
            self._container.mux(entry[1])

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None


def _reason(error) -> str:
    return getattr(error, "strerror", None) or str(error)


def _copied(source, sound, stream, first: float):
    """(time, packet) of the sound as it is."""
    shift = round(first / sound.time_base)
    for packet in source.demux(sound):
        if packet.dts is None or packet.pts is None:
            continue
        time = float((packet.pts - shift) * packet.time_base)
        if time < -_EARLY:
            continue
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        packet.stream = stream
        yield time, packet


def _encoded(source, sound, stream, first: float):
    """(time, packet) of the sound decoded and encoded anew."""

    def timed(packets):
        for packet in packets:
            yield float((packet.pts or 0) * packet.time_base), packet

    for frame in source.decode(sound):
        if frame.pts is not None:
            frame.pts -= round(first / frame.time_base)
            if float(frame.pts * frame.time_base) < -_EARLY:
                continue
        yield from timed(stream.encode(frame))
    yield from timed(stream.encode(None))
