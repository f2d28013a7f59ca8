"""Writes golden.jsonl: lines of [text, text.title()]. Run it with: python3 golden.py >golden.jsonl"""

import json
import random
import sys

texts = [
    "", "a", "_", "image_generation", "o'neil", "llm2x", "ÜBER text", "ǆ", "ﬁne_tuning", "ΑΣ ΣΑΣ", "ŉx", "aªb",
    "text-to-speech", "TTS", "tts.v2", "they're bill's friends", "3d_models", "o’neil", "état", "ÉTAT", "straße", "STRASSE",
    "ßa", "aß", "İstanbul", "ISTANBUL", "xİx", "ıx", "ǲ", "xǲ", "ǅA", "ΌΣΟΣ", "ὈΔΥΣΣΕΎΣ", "ΣΣΣ", "Σ", "αΣ'", "αΣ'α", "'Σ", "αΣ\u0301",
    "α\u0301Σ", "αΣ\u00adα", "ʰΣ", "αʰΣ", "αΣʰ", "αΣʰβ", "αΣ1", "1Σ", "α1Σ", "日本語", "мова", "МОВА", "ა", "აბ", "Ა", "Ꭰ", "ꭰꭰ",
    "ⅷx", "ⓐⓑ", "ⒶⒷ", "Ⅷx", "\U0001f130b", "𝐚𝐛", "𐐨𐐨", "𐐀𐐀", "\U0001f600a", "a\U0001f600a", "\u0345", "a\u0345", "a\u0345b", "\u200da", "a\u200db", "\ufeffa",
    "\x00a\x00", "a\tb\nc", "ﬃ ﬄ ﬅ ﬆ", "և ﬓ ﬔ ﬕ ﬖ ﬗ", "ǰx", "ẖ ẗ ẘ ẙ ẚ",
]

# Every character whose mappings are not those of one character to one, and all title-case letters: alone, first, within, repeated.
special = [
    c for c in map(chr, range(sys.maxunicode + 1))
    if len(c.title()) > 1 or len(c.lower()) > 1 or len(c.upper()) > 1 or c.title() != c.upper()
]
for c in special:
    texts += [c, c + "x", "x" + c, "_" + c + c]

# A sigma between neighbours that are cased, ignorable, both or neither.
sides = ["", "a", "1", "'", "a'", "'a", "a\u0301", "\u0301", "ʰ", "aʰ", "ª", "a:", ":a", "a.", "ⅷ", "\u0345", "a\u00b7", "·", "中", " "]
for left in sides:
    for right in sides:
        texts.append(left + "Σ" + right)
        texts.append("b" + left + "Σ" + right)
for c in "'.:·\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a,;-\u2010\u2032\u05f3\u30fb\u203f\u0640\u309b":
    texts += ["a" + c + "Σ", "aΣ" + c + "b", "aΣ" + c]

random.seed(1)
pool = special + list("abcXYZ012_- '.·ΣσςαΩжЖªʰ\u0301\u0345\u00adǄǅǆ中ⅷⓐ𐐀𐐨")
for _ in range(300):
    texts.append("".join(random.choice(pool) for _ in range(random.randint(2, 12))))

for text in dict.fromkeys(texts):
    print(json.dumps([text, text.title()]))
