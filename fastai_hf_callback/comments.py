"""Made-up talk-page comments for the offline demo. A leaf: imports the standard library only, and
nothing but the demo, the examples and the tests may import it.

They stand in for the Jigsaw comments, which may not be shipped: six labels at about the original
rates, nested and overlapping as there, in words a family paper would print. Labels show in words, not
perfectly: harmless comments speak of clown fish too, and some rude ones are rude between the lines.
"""
import csv
import math
import random
import re
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

__all__ = ["Comment", "LABELS", "RATES", "comments", "write_csv"]

# In the order of the original's toxic, severe_toxic, obscene, threat, insult, identity_hate.
LABELS = ("rude", "very_rude", "swearing", "warning_off", "insult", "clannish")
RATES = (0.102, 0.013, 0.056, 0.005, 0.055, 0.011)

# Positives of each label, or n // 25 where that is fewer. Of 20, a random fifth of the comments holds none about once
# in a hundred splits; of the 10 that 0.5 % of 2,000 would be, once in ten, and that column then has no AUC.
LEAST = 20

SHORTEST, LONGEST = 5, 60                   # words
TYPICAL, SPREAD = 15, 0.65                  # words aimed at (the median comes out near 18), sigma of their log

CHANCE = (0, 0.1, 0.4, 3.0, 0.35, 0.8)      # how little each label follows how heated a rude comment is
OUTSIDE = (0, 0, 0.06, 0.06, 0.06, 0.06)    # share of its positives that are not rude, as in the original

SUBTLE = 0.35      # share of labels that show in no word of their own, only in a heated tone
HEATED = 0.30      # share of harmless comments in that tone
DECOY = 0.30       # share of harmless comments that use a label's words harmlessly
SLOPPY = 0.25      # share of writers who misspell


class Comment(NamedTuple):
    """One comment and its label for each of ``LABELS``, 0 or 1."""

    text: str
    labels: Tuple[int, ...]


def comments(n: int = 2000, seed: int = 0) -> List[Comment]:
    """Return `n` different comments, the same for the same `n` and `seed` everywhere and always.

    Parameters
    ----------
    n : int
        How many. 20,000 different ones are made in seconds.
    seed : int
        Another seed gives other comments. The global ``random`` state is neither read nor changed.

    Returns
    -------
    list of Comment
        Positives come at ``RATES``, but at least 20 of each label (from 500 comments on; one in 25
        below), and lie evenly over the list: its last fifth has its share of each label.
    """
    if n < 0:
        raise ValueError(f"comments(n={n!r}): n is how many comments to make; write 0 or more")
    draw = random.Random(f"comments {seed}").random   # a str seed: Random(-1) equals Random(1)
    seen, made = set(), []
    for labels in _rows(n, draw):
        text = ""
        while text in seen or not SHORTEST <= len(text.split()) <= LONGEST:
            text = _write(labels, draw)
        seen.add(text)
        made.append(Comment(text, labels))
    return made


def write_csv(path, n: int = 2000, seed: int = 0) -> None:
    """Write ``comments(n, seed)`` to `path`: a column ``comment_text``, then one per label."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("comment_text",) + LABELS)
        writer.writerows((text,) + labels for text, labels in comments(n, seed))


# --------------------------------------------------------------------------------------- who is rude

Draw = Callable[[], float]      # random.Random.random, whose sequence Python promises to keep


def _rows(n: int, draw: Draw) -> List[Tuple[int, ...]]:
    """The labels of `n` comments, every kind of positive spread evenly over them."""
    rows = [(0,) * len(LABELS)] * n
    positives = _spread(_positives(n, draw), draw)
    for k, row in enumerate(positives):
        first, end = n * k // len(positives), n * (k + 1) // len(positives)
        rows[first + int(draw() * (end - first))] = row
    return rows


def _positives(n: int, draw: Draw) -> List[Tuple[int, ...]]:
    """The rows with a label. Every rude comment is more or less heated, and the other labels go to the
    most heated, each with its own share of chance: that makes them overlap."""
    counts = [max(int(rate * n + 0.5), min(LEAST, n // 25)) for rate in RATES]
    heat = [draw() for _ in range(counts[0])]
    rows = [[1] + [0] * (len(LABELS) - 1) for _ in heat]
    for label in range(1, len(LABELS)):
        outside = int(OUTSIDE[label] * counts[label] + 0.5)
        keys = [h + CHANCE[label] * draw() for h in heat]
        hottest = sorted(range(len(heat)), key=keys.__getitem__, reverse=True)
        for i in hottest[:counts[label] - outside]:
            rows[i][label] = 1
        rows += [[int(k == label) for k in range(len(LABELS))] for _ in range(outside)]
    return [row for _, row in sorted((draw(), tuple(row)) for row in rows)]     # in any order


def _spread(rows: Sequence[Tuple[int, ...]], draw: Draw) -> List[Tuple[int, ...]]:
    """Deal the rows out so that those that share their rarest label lie evenly apart."""
    rarest = sorted(range(len(LABELS)), key=lambda label: sum(row[label] for row in rows))
    groups: Dict[int, List[Tuple[int, ...]]] = {}
    for row in rows:
        groups.setdefault(next(label for label in rarest if row[label]), []).append(row)
    dealt = []
    for label in rarest:
        group = groups.get(label, [])
        dealt += [((k + draw()) / len(group), row) for k, row in enumerate(group)]
    return [row for _, row in sorted(dealt)]


# ------------------------------------------------------------------------------------ what they write

def _write(labels: Tuple[int, ...], draw: Draw) -> str:
    """One comment with these labels."""
    topic = _pick(TOPICS, draw)
    signals = [_sentence(_tone(label, draw), topic, draw) for label, on in zip(LABELS, labels) if on]
    if not signals:
        tones = [tone for tone, share in (("heated", HEATED), ("decoy", DECOY)) if draw() < share]
        signals = [_sentence(tone, topic, draw) for tone in tones]
    sentences = _fill(signals, topic, draw)
    if draw() < 0.12:
        sentences.append(_sentence("signature", topic, draw))
    return _dress(sentences, shout=0.3 if labels[1] else 0.02, draw=draw)


def _tone(label: str, draw: Draw) -> str:
    return "heated" if draw() < SUBTLE else label


def _fill(signals: List[str], topic: str, draw: Draw) -> List[str]:
    """Put harmless sentences around the signals until the comment has its length."""
    length = TYPICAL * math.exp(SPREAD * _normal(draw))
    length = min(max(length, SHORTEST), LONGEST - 6)           # 6: room for a signature
    sentences: List[str] = []
    for sentence in signals:
        _insert(sentence, sentences, draw)
    for _ in range(60):                                        # some are too long for what is left
        left = length - _words(sentences)
        if left <= 0:
            break
        sentence = _sentence(_pick(HARMLESS, draw), topic, draw)
        if _words([sentence]) <= left + 3:
            _insert(sentence, sentences, draw)
    return sentences


def _insert(sentence: str, sentences: List[str], draw: Draw) -> None:
    if sentence not in sentences:
        sentences.insert(int(draw() * (len(sentences) + 1)), sentence)


def _sentence(kind: str, topic: str, draw: Draw) -> str:
    """A template of this kind, its slots filled, the topic's words before the general ones."""
    bank = BANK.get(topic + "." + kind) or BANK[kind]
    return re.sub(r"\{(\w+)\}", lambda slot: _sentence(slot.group(1), topic, draw), _pick(bank, draw))


def _dress(sentences: List[str], shout: float, draw: Draw) -> str:
    """Join the sentences as this writer would: with or without capitals, full stops and spelling."""
    careless, sloppy = draw() < 0.2, draw() < SLOPPY
    end = "" if careless and draw() < 0.5 else "!!" if draw() < 0.05 else "."
    text = " ".join(_punctuate(s.lower() if careless else s[:1].upper() + s[1:], end) for s in sentences)
    text = re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)
    if sloppy:
        text = re.sub(r"[A-Za-z']+", lambda word: _misspell(word.group(), draw), text)
    if not careless:
        text = re.sub(r"\bi\b", "I", text)
    return text.upper() if draw() < shout else text


def _punctuate(sentence: str, end: str) -> str:
    return sentence if sentence[-1] in "?!.~" or sentence.startswith("--") else sentence + end


def _misspell(word: str, draw: Draw) -> str:
    wrong = SPELLINGS.get(word.lower())
    return wrong if wrong and draw() < 0.4 else word


def _words(sentences: Sequence[str]) -> int:
    return sum(len(sentence.split()) for sentence in sentences)


def _pick(options: Sequence[str], draw: Draw) -> str:
    return options[int(draw() * len(options))]


def _normal(draw: Draw) -> float:
    """Nearly normal, and the same everywhere: a sum added up one by one, since ``sum`` rounds better from
    Python 3.12 on."""
    total = -6.0
    for _ in range(12):
        total += draw()
    return total


def _read(source: str) -> Dict[str, Tuple[str, ...]]:
    """``[kind]`` opens a kind; below it stand its options, a line each or several with `` | ``."""
    bank: Dict[str, Tuple[str, ...]] = {}
    for line in filter(None, map(str.strip, source.splitlines())):
        if line.startswith("["):
            kind = line[1:-1]
            bank[kind] = ()
        else:
            bank[kind] += tuple(line.split(" | "))
    return bank


# ----------------------------------------------------------------------------------------- the words

HARMLESS = ("question", "fact", "fact", "fact", "edit", "edit", "sourcing", "thanks", "chat")

BANK = _read("""
[question]
does anyone know {whether}?
is there a {source} for the {page} on {subject}?
where can i find a good {source} on {subject}?
should {subject} have its own {page}?
could somebody check {whether}?
why was the {page} about {subject} removed {when}?
who wrote the {page} on {subject}?
what do you think?
any ideas?
can you help with the {page}?
when did that happen?
how do i add a picture of {subject}?
would you mind if i moved {subject} into the {page}?

[whether]
{fact}
if {fact}
whether {fact}
how to spell {subject}

[fact]
{subject} is mentioned in the {source}

[edit]
i have added {subject} to the {page}
i moved the part about {subject} into the {page}
i fixed a few links in the {page} {when}
i removed the sentence about {subject} because it had no {source}
i think the {page} needs a shorter introduction
please see the {page} before you change {subject}
the {page} was merged with {subject} {when}
i changed it back {when}
the {page} is too long, so i split it
{subject} now has a {adjective} {page}
my edit to the {page} was a mistake, sorry
i put the old version of the {page} back
there is a {adjective} picture of {subject} in the {page}
the {page} still says that {fact}
{user} and i will rewrite the {page} {soon}

[sourcing]
according to the {source}, {fact}
the {source} says that {fact}
i checked the {source} and {fact}
i have the {source} here, page {number}
a {adjective} {source} would settle this
the {source} from {year} does not mention {subject}
we need a second {source} for {subject}
my {source} is {adjective} but from {year}
the {source} and the {page} do not agree about {subject}

[thanks]
thank you for the help
thanks for your work on {subject}
thanks, that is much clearer now
good work on the {page}, {user}
welcome, and thanks for the {page}
i am happy with that
that was quick, thank you
well done everyone
nice to see {subject} here
many thanks to {user} for the {adjective} {source}

[chat]
i agree with {user}
i am not sure about that
let us wait for {user}
it is only a small thing
sorry for the late answer
see the discussion above
that is fine with me
i will look at it {soon}
maybe we can talk about it {soon}
i grew up with {subject}, so i care about this
just my opinion
no hurry at all
it looks {adjective} to me
as {user} said, {fact}
let me know if anything is missing

[heated]
i have reverted you again and will not explain it a third time
you clearly have not read the {source}
please read the {page} before you write about {subject}
this is the third time you removed {subject}
why do you keep changing the {page}?
you never answer a question, do you?
that is not how this works and you know it
you do not own this {page}
stop changing the {page} without a {source}
everyone else here has understood it by now
again you removed my work on {subject}
i am tired of this discussion
congratulations, you have broken the {page} once more
your edits about {subject} are not an improvement
this edit war about {subject} has to stop
how many times must i explain that {fact}?
it would be nice if you could read
perhaps leave {subject} to people who know it
i see you have learned nothing at all

[decoy]
the clown fish picture belongs in another {page}
the film about a {insulting} won a prize in {year}
please do not call {user} a {insulting}
nobody here is a {insulting}, so let us stay calm
{user} was called a {insulting}, which was not fair
that was a silly mistake of mine, sorry
i made a foolish mistake in the {page}
this is not nonsense, the {source} says the same
it is not ridiculous to ask for a {source}
the rubbish collection in the town has its own {page}
sorry for the nonsense i wrote {when}
turnip soup with goose is on the list of dishes
the donkey path along the hill is {adjective}
the blast furnace has its own {page}
what the heck is a "{adjective} {source}"? just curious
oh dear, i have flipping pictures upside down again
he says "darn" in the second scene, as the {source} shows
the last warning on the {page} is out of date
the bot will report a broken link and block the {page}
i regret that the page was blocked {when}
newcomers are welcome to work on {subject}
outsiders and newcomers often ask whether {fact}
the club has a crowd of followers, says the {source}
people like you make this {page} better, thank you
the worst flood was in {year}, an utter disgrace for the town
it was a complete waste of water, says the {source}
please shut the gate is the title of the {page}
the word "pathetic" should be in quotes
go away is the name of a song from {year}
i was too lazy to look for a {source}, sorry
the most boring part of the {page} is mine
the puppet and the buffoon are two parts in the play

[rude]
what a load of {nonsense}
this is {nonsense} and you know it
your {page} is {rubbishy}
stop whining and go away
nobody asked you about {subject}
shut up about {subject}
you are wasting my time with this {nonsense}
this is the most {rubbishy} {page} i have read
go away and take your {rubbishy} {source} with you
are you too lazy to read?
your {page} on {subject} is a waste of time
oh please, more {nonsense} about {subject}
who let you near the {page}?
that is {rubbishy}, like everything you write
keep your {nonsense} to yourself
grow up and get lost
you make {rubbishy} edits

[nonsense]
nonsense | rubbish | drivel | twaddle | nonsense | piffle | rubbish

[rubbishy]
silly | pathetic | ridiculous | lousy | lazy | boring | useless | foolish | silly

[very_rude]
you are an utter disgrace, the worst i have ever seen
absolutely everything you touch is complete and utter {nonsense}
get lost, get lost, get lost, you utter {insulting}
the worst editor ever, a complete disgrace, go away for good
utter, utter {nonsense}, you ought to be ashamed
shut up, shut up, you absolute {insulting}

[swearing]
what the {oath} is this?
{oath} it all
this {oathy} {page} again
oh {oath}, not you again
get your {oathy} hands off the {page}
who the {oath} do you think you are?
oh for {oath}'s sake
not the {oathy} {source} again

[oath]
heck | heck | darn | blast | dang | drat | fudge

[oathy]
flipping | blasted | darned | flipping | ruddy | blooming

[warning_off]
this is your last warning, i will have you blocked
stay off this {page} or you will regret it
i will report you and then you will be sorry
one more edit and i will get you banned, just wait
i am warning you, leave or be blocked
you will regret this, i know how to get you banned

[insult]
you {insulting}
you are a {insulting}
what a {insulting} you are
only a {insulting} would write this
listen, {insulting}
you {rubbishy} {insulting}
{insulting}, that is what you are
you write like a {insulting}
no {insulting} should edit {subject}

[insulting]
clown | fool | donkey | goose | nitwit | buffoon | turnip | puppet | numpty | clown | fool | dimwit

[clannish]
your sort should not be allowed to edit
typical of your little club, you are all the same
we do not want your kind of outsiders here
{crowd} are all the same, go back to your own page
{crowd} ruin everything, keep them out
you {crowd} should stay where you came from

[crowd]
newcomers | outsiders | hobby editors | club people | weekend editors

[signature]
-- {user} | -- {user}, {when} | ~~~~ | regards, {user} | cheers, {user} | best wishes, {user}

[user]
tealeaf | nightowl | oldbridge | ferryhand | pawnstorm | mapmaker | bluekettle | seventrees | quietpen
longshelf | rainyday | greylamp

[page]
page | article | section | list | table | lead | caption | introduction | summary | paragraph

[source]
book | newspaper | atlas | leaflet | journal | archive | website | magazine | interview | report

[adjective]
good | reliable | short | useful | detailed | local | recent | clear | careful | fine | printed | lovely

[when]
last week | yesterday | this morning | in March | in June | two days ago | last year | on Sunday

[soon]
tomorrow | this weekend | next week | tonight | after lunch | on Monday

[year]
1887 | 1904 | 1923 | 1938 | 1951 | 1966 | 1979 | 1988 | 1997 | 2003

[number]
12 | 27 | 34 | 58 | 61 | 95 | 140 | 212

[rivers.subject]
the upper river | the old weir | the delta | the northern tributary | the lock at the mill | the ferry
[rivers.fact]
the river is longer than the table says
{subject} was dug in {year}
the source lies above the lake
{subject} floods every spring
boats could pass {subject} until {year}
the water level fell by {number} centimetres
the valley below {subject} is narrow

[maps.subject]
the survey map | the town plan | the legend | the northern sheet | the contour line | the old border
[maps.fact]
the scale of {subject} is wrong
{subject} was drawn by hand in {year}
north is not at the top of {subject}
{subject} shows {number} villages
the colours of {subject} have faded
the grid on {subject} is shifted to the east

[trains.subject]
the branch line | the night train | the steam engine | the railway bridge | the signal box | the station
[trains.fact]
{subject} closed in {year}
the timetable lists {number} stops
the track at {subject} is a single one
{subject} was built of brick and iron
passengers had to change at the junction
the express never stopped at the junction
freight wagons still pass at night

[chess.subject]
the opening | the endgame | the knight sacrifice | the second match | the rook ending | the queen move
[chess.fact]
the bishop cannot reach that square
{subject} was first played in {year}
{subject} leads to a draw
the champion lost {number} games with it
the pawn on the king side is pinned
{subject} takes too long on the clock

[football.subject]
the cup final | the home team | the new stadium | the goalkeeper | the penalty | the second half
[football.fact]
the score was level at half time
{subject} was delayed by {number} minutes
the coach left the club in {year}
the referee did not see the foul
{subject} drew the biggest crowd that season
the striker scored from a corner
the away team wore a different shirt

[films.subject]
the first scene | the dance scene | the silent version | the sound track | the last reel | the sequel
[films.fact]
the film was shot in {number} days
{subject} was cut for the cinema
the camera work won an award in {year}
{subject} is not in the credits
the plot follows the novel closely
the studio lost its copy of {subject}

[software.subject]
the parser | the first release | the mail client | the user interface | the installer | the test suite
[software.fact]
the bug was fixed in version {number}
{subject} was written in one winter
the licence changed in {year}
{subject} crashes on start with an empty file
the manual does not describe {subject}
the code for {subject} has {number} functions
{subject} needs less memory now

[cooking.subject]
the plum cake | the onion soup | the rye bread | the bean salad | the cheese tart | the sauce
[cooking.fact]
{subject} needs {number} minutes in the oven
the recipe was printed in {year}
{subject} is made without eggs
the dough has to rest overnight
butter works better than oil in {subject}
{subject} is served cold with salt and pepper

[birds.subject]
the grey heron | the barn owl | the swallow | the kingfisher | the woodpecker | the reed warbler
[birds.fact]
the heron breeds near the shore
{subject} was last seen in {year}
the song has {number} notes
{subject} eats insects and berries
the feathers turn brown in autumn
the eggs of {subject} are spotted

[gardens.subject]
the rose garden | the apple tree | the greenhouse | the herb bed | the hedge | the kitchen garden
[gardens.fact]
the roses flower in early summer
{subject} was laid out in {year}
{subject} needs shade and wet soil
the seeds take {number} days
the frost ruined the blossom near {subject}
the pond behind {subject} is new

[music.subject]
the piano trio | the choir | the slow movement | the brass band | the organ | the violin part
[music.fact]
the key changes in bar {number}
{subject} was first heard in {year}
the melody comes from a folk tune
{subject} is played too fast on the record
the drummer joined after the tour
the composer never finished {subject}

[space.subject]
the comet | the telescope | the moon landing | the red planet | the space probe | the eclipse
[space.fact]
the orbit takes {number} years
{subject} was in the news in {year}
the star is brighter than expected
{subject} can be seen before sunrise
the rocket carried a camera in its second stage
the photo of {subject} was taken from a balloon
""")

TOPICS = tuple(kind[:-len(".subject")] for kind in BANK if kind.endswith(".subject"))

SPELLINGS = dict(pair.split(" ") for pair in """
you u | your ur | are r | the teh | because becuase | article artical | please pls | thanks thx
definitely definately | people ppl | reliable relable | don't dont | with wiht | their thier
introduction intro | source sorce | again agian | really realy | nonsense nonsence | rubbish rubish
ridiculous rediculous | silly sily | pathetic pathetik | fool foool | clown klown | donkey donky
buffoon bufoon | whining wining | useless usless | flipping flippin | warning warnning | regret regrett
blocked bloked | outsiders outsidrs | disgrace disgrase | heck hek | what wat | would wud | to too
""".strip().replace("\n", " | ").split(" | "))
