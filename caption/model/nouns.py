"""What people call the things that an ImageNet classifier knows: classes 0 to 999 -> plain English nouns.

Five cats are a cat, fifty birds a bird; a thing keeps its own name where people would say it in a caption.
Classes that stand for unlike things in photographs (spotlight, screen, nail, website) have no noun.
"""

from __future__ import annotations

CLASSES = 1000

# A noun, then the classes (ImageNet-1k's usual order) that it stands for. A noun may have two words; each
# of them is then believed to be seen.
_TABLE = """
fish: 0 389-392 394 395 397; goldfish: 1; shark: 2-4; stingray: 5 6; rooster: 7; chicken: 8; ostrich: 9;
bird: 10-20 80-83 85 86 91 92 94 95 126 129 133 135-143 146; eagle: 21 22; vulture: 23; owl: 24;
lizard: 25-29 38-48; frog: 30-32; turtle: 33-37; alligator: 49 50; dinosaur: 51; snake: 52-68;
spider: 70 72-77; scorpion: 71; peacock: 84; parrot: 87-90; toucan: 93 96; duck: 97 98; goose: 99;
swan: 100; elephant: 101 385 386; kangaroo: 104; koala bear: 105; jellyfish: 107; coral: 107-109 973;
shell: 112 117; snail: 113; crab: 118-121 125; lobster: 122-124; stork: 127 128; flamingo: 130;
heron: 131 132; crane: 134 517; pelican: 144; penguin: 145; whale: 147 148; seal: 150; dog: 151-268;
wolf: 269-271; fox: 277-280; cat: 281-285; leopard: 288-290; lion: 291; tiger: 292; cheetah: 293;
bear: 294-297; polar bear: 296; meerkat: 299; beetle: 300 302-307; ladybug: 301; fly: 308; bee: 309;
ant: 310; grasshopper: 311 312; insect: 314-318; dragonfly: 319 320; butterfly: 321-326; starfish: 327;
rabbit: 330-332; hamster: 333; porcupine: 334; squirrel: 335; beaver: 336 337; guinea pig: 338; horse: 339;
zebra: 340; pig: 341-343; hippo: 344; cow: 345; buffalo: 346; bison: 347; sheep: 348; goat: 349 350;
deer: 351-353; camel: 354; llama: 355; ferret: 356-359; otter: 360; badger: 361 362; armadillo: 363;
sloth: 364; orangutan: 365; gorilla: 366; chimpanzee: 367; monkey: 368-382; lemur: 383 384; panda: 387 388;
clownfish: 393; abacus: 398; gown: 400 578 601; accordion: 401; guitar: 402 546; aircraft carrier: 403;
airplane: 404; blimp: 405; altar: 406; ambulance: 407; clock: 409 530 892; apron: 411; trash can: 412;
gun: 413 763 764; backpack: 414; bakery: 415; balloon: 417; pen: 418 563; banjo: 420; railing: 421;
barbell: 422; barber: 423 424; barn: 425; barrel: 427 756; wheelbarrow: 428; baseball: 429; basketball: 430;
crib: 431 520; towel: 434; bathtub: 435 876; car: 436 511 717 751 817; lighthouse: 437; bottle: 440 737 907;
beer: 440 441; tower: 442 900; bib: 443; bicycle: 444 671; bikini: 445; binder: 446; binoculars: 447;
birdhouse: 448; boathouse: 449; bookshelf: 453; books: 454; bow: 456; bow tie: 457; bra: 459;
breakwater: 460; broom: 462; bucket: 463; buckle: 464; train: 466 547 565 705 820; butcher: 467; taxi: 468;
cauldron: 469; candle: 470; cannon: 471; canoe: 472; can opener: 473; cardigan: 474; mirror: 475;
carousel: 476; tools: 477; box: 478; wheel: 479; atm machine: 480; cassette: 481 482; castle: 483;
boat: 472 484 554 576 625 814 871 914; ship: 510 628 724; sailboat: 484 780 871 914; cello: 486;
phone: 487 528; chain: 488; fence: 489 716 912; chainsaw: 491; chest: 492; dresser: 493; cabinet: 495;
stocking: 496; church: 497; cleaver: 499; cloak: 501; clogs: 502; mug: 504; coffee: 504 505 550 967;
coffee maker: 505 550; lock: 507 695; keyboard: 508; candy: 509; corkscrew: 512; trumpet: 513; boots: 514;
hat: 515 808; cradle: 516; helmet: 518 560; crate: 519; pot: 521 544; crutches: 523; dam: 525; desk: 526;
computer: 527; watch: 531; table: 532; dishwasher: 534; dock: 536; sled: 537; dome: 538; mat: 539;
oil rig: 540; drum: 541; drums: 541 822; dumbbells: 543; fan: 545; envelope: 549; makeup: 551;
fire truck: 555; fireplace: 556; flagpole: 557; flute: 558; chair: 559; forklift: 561; fountain: 562;
bed: 564; french horn: 566; pan: 567; fur coat: 568; garbage truck: 569; gas mask: 570; gas pump: 571;
goblet: 572; go kart: 573; golf ball: 574; golf cart: 575; gondola: 576; gong: 577; piano: 579 881;
greenhouse: 580; grill: 581; grocery store: 582; hair clip: 584; hairspray: 585; hammer: 587; hamper: 588;
hair dryer: 589; handkerchief: 591; hard drive: 592; harmonica: 593; harp: 594; tractor: 595 866; axe: 596;
honeycomb: 599; hook: 600; carriage: 603; hourglass: 604; ipod: 605; iron: 606; pumpkin: 607; jeans: 608;
jeep: 609; jersey: 610; puzzle: 611; rickshaw: 612; joystick: 613; kimono: 614; lab coat: 617; ladle: 618;
lamp: 619 846; laptop: 620 681; lawn mower: 621; library: 624; lighter: 626; limousine: 627; lipstick: 629;
shoe: 630 770 788; shoes: 630 788; sneakers: 770; lotion: 631 838; speaker: 632; magnifying glass: 633;
lumber: 634; compass: 635; mailbox: 637; swimsuit: 638 639; manhole cover: 640; maracas: 641; mask: 643;
matches: 644; maze: 646; measuring cup: 647; medicine cabinet: 648; stones: 649; microphone: 650;
microwave: 651; uniform: 652; minibus: 654; skirt: 655 689; van: 654 656 675 734; missile: 657;
mittens: 658; bowl: 659 809; old car: 661; monastery: 663; monitor: 664; scooter: 665 670;
graduation cap: 667; mosque: 668; tent: 672; mouse: 673; mousetrap: 674; truck: 675 717 867; muzzle: 676;
necklace: 679; obelisk: 682; oboe: 683; organ: 687; ox cart: 690; paddle: 693; padlock: 695;
paintbrush: 696; pajamas: 697; palace: 698; paper towels: 700; parachute: 701; gymnast: 416 602 702;
bench: 703; parking meter: 704; patio: 706; payphone: 707; pencil case: 709; sharpener: 710; perfume: 711;
copier: 713; piggy bank: 719; pills: 720; pillow: 721; ping pong: 722; pinwheel: 723; pitcher: 725;
planetarium: 727; plastic bag: 728; dishes: 729; plow: 730; plunger: 731; camera: 732 759; pole: 733;
poncho: 735; pool table: 736; plant: 738; pottery: 739; drill: 740; rug: 741; printer: 742; projector: 745;
hockey puck: 746; punching bag: 747; purse: 748; feather: 749; quilt: 750; racket: 752; radiator: 753;
radio: 754; satellite dish: 755 807; rv: 757; fishing reel: 758; refrigerator: 760; remote control: 761;
restaurant: 762; rocking chair: 765; eraser: 767; rugby ball: 768; ruler: 769; safe: 771; safety pin: 772;
salt shaker: 773; sandals: 774; saxophone: 776; sword: 777; scale: 778; bus: 779 874; school bus: 779;
scoreboard: 781; screw: 783; screwdriver: 784; seat belt: 785; sewing machine: 786; shield: 787;
basket: 588 790; shopping cart: 791; shovel: 792; shower cap: 793; shower curtain: 794; skis: 795;
ski mask: 796; sleeping bag: 797; door: 799; slot machine: 800; snorkel: 801; snowmobile: 802;
snow plow: 803; soap dispenser: 804; soccer ball: 805; socks: 806; heater: 811; space shuttle: 812;
rocket: 657 812; spatula: 813; spider web: 815; stage: 819; bridge: 821 839; stethoscope: 823; scarf: 824;
stone wall: 825; stopwatch: 826; stove: 827; strainer: 828; tram: 829; stretcher: 830; couch: 831;
temple: 663 832; submarine: 833; suit: 834; sundial: 835; sunglasses: 836 837; sweater: 474 841;
sweatshirt: 841; swimming trunks: 842; swing: 843; syringe: 845; tank: 847; teapot: 849; teddy bear: 850;
television: 851; tennis ball: 852; curtain: 854; throne: 857; roof: 853 858; toaster: 859; toilet: 861;
totem pole: 863; tow truck: 864; toys: 865; tray: 868; coat: 568 869; tricycle: 870; tripod: 872; arch: 873;
trombone: 875; turnstile: 877; typewriter: 878; umbrella: 879; unicycle: 880; vacuum cleaner: 882;
vase: 883; vending machine: 886; robe: 887; aqueduct: 888; violin: 889; volleyball: 890; waffle iron: 891;
wallet: 893; wardrobe: 894; jet: 895; sink: 896; washing machine: 897; water bottle: 898; jug: 899;
water tower: 900; whistle: 902; wig: 903; window: 904 905; blinds: 905; tie: 906; wine: 907 966; wing: 908;
wok: 909; wooden spoon: 910; yarn: 911; shipwreck: 913; yurt: 915; comic book: 917; crossword puzzle: 918;
sign: 919; traffic light: 920; book: 921; menu: 922; plate: 923; guacamole: 924; soup: 925 926;
dessert: 927; ice cream: 928; popsicle: 929; bread: 930; bagel: 931; pretzel: 932; hamburger: 933;
hot dog: 934; mashed potatoes: 935; cabbage: 936; broccoli: 937; cauliflower: 938; zucchini: 939;
squash: 940-942; cucumber: 943; artichoke: 944; pepper: 945; mushroom: 947 991-997; apple: 948;
strawberries: 949; orange: 950; lemon: 951; figs: 952; pineapple: 953; banana: 954; jackfruit: 955;
pomegranate: 957; hay: 958; pasta: 959; chocolate: 960; dough: 961; meatloaf: 962; pizza: 963; pie: 964;
burrito: 965; cup: 967 968; mountain: 970; bubbles: 971; cliff: 972; geyser: 974; lake: 975; ocean: 976 978;
beach: 977 978; valley: 979; volcano: 980; baseball player: 981; groom: 982; scuba diver: 983; field: 984;
flower: 985 986; corn: 987 998; acorn: 988; toilet paper: 999;
"""


def class_nouns() -> tuple[str, ...]:
    """The nouns of each class, "" where there is none, "coffee, cup" where there are two."""
    found: list[list[str]] = [[] for _ in range(CLASSES)]
    for entry in _TABLE.strip().rstrip(";").split(";"):
        noun, _, classes = entry.partition(":")
        for part in classes.split():
            first, _, last = part.partition("-")
            for number in range(int(first), int(last or first) + 1):
                found[number].append(noun.strip())
    return tuple(map(", ".join, found))
